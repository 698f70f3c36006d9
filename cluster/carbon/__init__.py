"""How many grams of CO2e a kilowatt-hour of the grid stands for, who says so, and how well it is known."""
