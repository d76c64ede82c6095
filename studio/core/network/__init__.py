"""The one gate through which every network call of the program goes."""
