"""How a training starts: a folder of images and labels to a commented training file."""
