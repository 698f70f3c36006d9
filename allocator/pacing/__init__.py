"""How a quota of a day or an hour is spread over it: forecasts of load and intensity, and the one price of both."""
