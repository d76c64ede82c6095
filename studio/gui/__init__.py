"""The ring a person sees: windows, forms and plots, without torch."""
