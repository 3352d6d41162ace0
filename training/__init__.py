"""The sequence transformer: data, model, training and offline evaluation."""
