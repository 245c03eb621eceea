"""Management: which pools there are, and making and removing them."""
