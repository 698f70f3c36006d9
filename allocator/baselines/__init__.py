"""What GreenFlow is compared with. Each module states its source and what it simplifies."""
