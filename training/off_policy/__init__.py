"""What another ranking would have got, from rankings that exploration drew and the interactions that followed."""
