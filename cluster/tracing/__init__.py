"""One request, explained: which chains there were for it, which one it got and why, and what every stage did."""
