"""The recipe: everything a user chose, declared once, frozen, checked in words."""
