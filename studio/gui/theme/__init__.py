"""How the window looks: colours, sizes, palette, style sheet, icons and fonts."""
