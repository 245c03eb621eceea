"""A whole system, its users and its misfortunes, from one number: `./dev sim --seeds 1..500`."""
