"""What the lessons need beside their text: pictures with alt text, small experiments. Light: no torch here."""
