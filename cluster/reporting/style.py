"""The page's style sheet. ASCII alone, for it is not escaped."""

STYLE = """
:root { color-scheme: light dark; --ink: #16211b; --soft: #5b6862; --line: #dce3df; --paper: #f6f8f6; --card: #fff;
  --work: #14804a; --idle: #b3beb8; --left: #d99a2b; --measured: #1f5fa6; --modelled: #7aaedf; --assumed: #cfdcea; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6ece8; --soft: #97a59e; --line: #2d3732; --paper: #101512;
  --card: #181f1b; --work: #3dbd7d; --idle: #55635c; --left: #d3a14a; --measured: #6fb0f2; --modelled: #3d6d9e;
  --assumed: #2b3f55; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 2.5rem 1.25rem 4rem; max-width: 66rem; background: var(--paper); color: var(--ink);
  font: 16px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.75rem; line-height: 1.2; margin: 0 0 .35rem; letter-spacing: -.01em; }
h2 { font-size: 1.05rem; margin: 2.25rem 0 .75rem; }
.soft { color: var(--soft); font-size: .875rem; margin: 0; overflow-wrap: anywhere; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(11.5rem, 1fr)); gap: .75rem;
  margin-top: 1.5rem; }
.tile, .card { background: var(--card); border: 1px solid var(--line); border-radius: .75rem; }
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
svg { display: block; width: 100%; height: auto; } svg text { fill: var(--soft); font: 12px system-ui, sans-serif; }
svg line { stroke: var(--line); } svg g:hover rect { opacity: .75; }
.wide { overflow-x: auto; padding: .35rem 0; } table { border-collapse: collapse; width: 100%; font-size: .875rem;
  font-variant-numeric: tabular-nums; }
th, td { padding: .45rem .75rem; text-align: right; white-space: nowrap; border-bottom: 1px solid var(--line); }
th { font-weight: 600; color: var(--soft); white-space: normal; vertical-align: bottom; }
th.name, td.name { text-align: left; }
tbody tr:last-child td { border-bottom: 0; } tr.aside td { color: var(--soft); }
th:first-child, td:first-child { padding-left: 1.1rem; }
dl { margin: 0; display: grid; grid-template-columns: max-content 1fr; gap: .4rem 1.25rem; font-size: .9rem; }
dt { color: var(--soft); } dd { margin: 0; overflow-wrap: anywhere; }
.notes { color: var(--soft); font-size: .875rem; max-width: 48rem; } .notes p { margin: .5rem 0; }
@media (max-width: 34rem) { dl { grid-template-columns: 1fr; gap: 0; } dd { margin-bottom: .6rem; } }
@media print { body { padding: 0; background: none; } .tile, .card { break-inside: avoid; } }
"""
