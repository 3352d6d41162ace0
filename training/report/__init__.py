"""What a person reads about the models: a page, a model card and generated details, from kept results alone."""
