"""The style sheet of pages that are sent and printed. ASCII alone, for it is not escaped."""

LIGHT = """--paper: #f7f8f7; --card: #fff; --ink: #16211b; --soft: #56635c; --line: #dfe5e1; --work: #14804a;
  --idle: #8a968f; --left: #96620a; --measured: #1f5fa6; --modelled: #7aaedf; --assumed: #cfdcea; --carbon: #5d6b75;"""
DARK = """--paper: #0e1310; --card: #161c18; --ink: #e8ede9; --soft: #9daba3; --line: #2a342e; --work: #3dbd7d;
  --idle: #6b7971; --left: #dcb25b; --measured: #6fb0f2; --modelled: #3d6d9e; --assumed: #2b3f55; --carbon: #a4b2bb;"""
"""The live page's colours (cluster/page/styles/tokens.css)."""

STYLE = (
    f"\n:root {{ color-scheme: light; {LIGHT} }}\n"
    f"@media screen and (prefers-color-scheme: dark) {{ :root {{ color-scheme: dark; {DARK} }} }}"
    """
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 2.5rem 1.25rem 4rem; max-width: 66rem; background: var(--paper); color: var(--ink);
  font: 16px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.9rem; line-height: 1.2; margin: 0 0 .35rem; letter-spacing: -.015em; }
.kind { margin: 0 0 .2rem; color: var(--work); font-size: .875rem; font-weight: 600; }
h2 { font-size: 1.05rem; margin: 2.25rem 0 .75rem; }
.soft { color: var(--soft); font-size: .875rem; margin: 0; overflow-wrap: anywhere; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(11.5rem, 1fr)); gap: .75rem;
  margin-top: 1.5rem; }
.tile, .card { background: var(--card); border: 1px solid var(--line); border-radius: 12px; }
.tile { padding: 1rem 1.1rem; }
.tile b { display: block; font-size: 1.7rem; line-height: 1.25; font-weight: 650; letter-spacing: -.02em;
  font-variant-numeric: tabular-nums; overflow-wrap: anywhere; }
.tile b small { display: block; margin: .1rem 0 .35rem; font-size: .95rem; font-weight: 500; letter-spacing: 0;
  color: var(--soft); }
.tile span { display: block; font-size: .875rem; color: var(--soft); }
.card { padding: 1.1rem; }
.pair { display: grid; grid-template-columns: repeat(auto-fit, minmax(20rem, 1fr)); gap: .75rem; margin-top: .75rem; }
.pair h2 { margin: 0 0 .75rem; }
.bar { display: flex; height: .8rem; border-radius: .4rem; overflow: hidden; background: var(--line); gap: 1px; }
.bar i { display: block; }
.key { display: flex; flex-wrap: wrap; gap: .25rem 1.25rem; margin: .7rem 0 0; padding: 0; list-style: none;
  font-size: .875rem; font-variant-numeric: tabular-nums; }
.key i { display: inline-block; width: .7rem; height: .7rem; border-radius: .2rem; margin-right: .4rem; }
.work { background: var(--work); fill: var(--work); } .idle { background: var(--idle); fill: var(--idle); }
.left { background: var(--left); fill: var(--left); } .measured { background: var(--measured); }
.modelled { background: var(--modelled); } .assumed { background: var(--assumed); }
.carbon { background: var(--carbon); fill: var(--carbon); }
svg { display: block; width: 100%; height: auto; } svg text { fill: var(--soft); font: 12px system-ui, sans-serif; }
svg line { stroke: var(--line); } svg g:hover rect { opacity: .75; }
.wide { overflow-x: auto; padding: .35rem 0; } table { border-collapse: collapse; width: 100%; font-size: .875rem;
  font-variant-numeric: tabular-nums; }
th, td { padding: .45rem .75rem; text-align: right; white-space: nowrap; border-bottom: 1px solid var(--line); }
th { font-weight: 600; color: var(--soft); white-space: normal; vertical-align: bottom; }
th.name, td.name { text-align: left; }
tbody:last-child tr:last-child td, tfoot td { border-bottom: 0; } tr.aside td { color: var(--soft); }
tfoot td { font-weight: 600; border-top: 1px solid var(--soft); }
th:first-child, td:first-child { padding-left: 1.1rem; }
td small { display: block; font-size: .8rem; color: var(--soft); }
dl { margin: 0; display: grid; grid-template-columns: max-content 1fr; gap: .4rem 1.25rem; font-size: .9rem; }
dt { color: var(--soft); } dd { margin: 0; overflow-wrap: anywhere; }
.notes { color: var(--soft); font-size: .875rem; max-width: 48rem; } .notes p { margin: .5rem 0; }
.soft + .card { margin-top: .6rem; }
@media screen and (max-width: 40rem) { .card:has(svg) { overflow-x: auto; } .card svg { min-width: 36rem; } }
@media (max-width: 34rem) { dl { grid-template-columns: 1fr; gap: 0; } dd { margin-bottom: .6rem; } }
@page { size: A4; margin: 15mm 14mm 16mm; @bottom-right { content: counter(page) " / " counter(pages);
  font: 8pt system-ui, sans-serif; color: #5b6862; } }
@media print { * { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
  body { padding: 0; max-width: none; background: none; font-size: 9.5pt; }
  .tile, tr, dd, .pair, svg, section { break-inside: avoid; } section.long { break-inside: auto; }
  h1 { font-size: 19pt; } h2 { font-size: 11pt; break-after: avoid; margin: 1rem 0 .5rem; }
  .tile, .card { padding: .6rem .7rem; border-radius: .4rem; } .wide { padding: .2rem 0; overflow: visible; }
  .tiles { grid-template-columns: repeat(auto-fit, minmax(7.2rem, 1fr)); gap: .45rem; } .tile b { font-size: 1.35rem; }
  .tile span, .soft, dl, .key { font-size: 8pt; } .pair { gap: .45rem; } .pair h2 { margin: 0 0 .5rem; }
  table { font-size: 8pt; } td small { font-size: 7pt; } th, td { padding: .25rem .5rem; }
  thead { display: table-header-group; } tfoot { display: table-row-group; } }
"""
)
