"""Puts the live page together."""

PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>GreenFlow</title>
<style>body { font: 16px/1.4 system-ui, sans-serif; margin: 2em }</style>
<p id="power">GreenFlow</p>
<script>
new EventSource("v1/live").addEventListener("window", told => {
  const power = JSON.parse(told.data).power
  document.getElementById("power").textContent = power?.power_w == null ? "not known" : `${power.power_w.toFixed(1)} W`
})
</script>
</html>
"""


def page() -> bytes:
    """The page: one HTML document that needs nothing else."""
    return PAGE.encode()
