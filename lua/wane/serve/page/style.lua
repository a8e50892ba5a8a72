--- How the page looks: light and dark, from a phone to a wide screen.
return [==[
:root { color-scheme: light dark; --line: #8886; --user: #6b8afd26; --soft: #8888881f; --a: #3b6fd4; --b: #d9822b; --c: #2f9e62; }
@media (prefers-color-scheme: dark) { :root { --a: #86aaff; --b: #f0a95b; --c: #6fcf97; } }
* { box-sizing: border-box; }
body { margin: 0; height: 100dvh; display: flex; flex-direction: column; font: 16px/1.5 system-ui, sans-serif; }
header, form { padding: .6rem 1rem; border-color: var(--line); border-style: solid; border-width: 0 0 1px; }
form { border-width: 1px 0 0; display: flex; gap: .5rem; align-items: end; }
header { display: flex; flex-wrap: wrap; gap: .3rem 1rem; align-items: center; }
header h1 { font-size: 1rem; margin: 0; flex: 1 1 8rem; overflow-wrap: anywhere; }
label { font-size: .85rem; }
nav { display: flex; gap: .3rem; }
nav button[aria-selected=true] { border-color: var(--a); box-shadow: inset 0 -2px var(--a); }
input[type=number] { width: 5.5rem; }
#key { width: 5.5rem; }
section { flex: 1; min-height: 0; display: flex; flex-direction: column; }
section[hidden] { display: none; }
main, .scroll { flex: 1; overflow-y: auto; padding: 1rem; }
.bar { display: flex; flex-wrap: wrap; gap: .3rem 1rem; padding: .4rem 1rem; align-items: center; }
article, .card { max-width: 46rem; margin: 0 auto 1rem; padding: .6rem .9rem; border-radius: .6rem; background: var(--soft); }
.card { max-width: 60rem; overflow-x: auto; }
.card h2 { font-size: 1rem; margin: 0 0 .3rem; }
article.user { background: var(--user); }
article.error, .failed { border: 1px solid #c33; }
article h2 { font-size: .75rem; margin: 0; opacity: .7; }
pre, .text { white-space: pre-wrap; overflow-wrap: anywhere; margin: 0; font: inherit; }
pre { font-family: ui-monospace, monospace; font-size: .85rem; }
pre.wide { white-space: pre; overflow-x: auto; }
details { font-size: .9rem; opacity: .85; }
textarea { flex: 1; font: inherit; resize: vertical; min-height: 2.8rem; max-height: 40dvh; padding: .5rem; border-radius: .4rem; }
button, input, textarea, select { font: inherit; color: inherit; background: Canvas; border: 1px solid var(--line); border-radius: .4rem;
  max-width: 100%; }
button { padding: .45rem .9rem; cursor: pointer; }
select, input { padding: .2rem .3rem; }
:focus-visible { outline: 2px solid var(--a); outline-offset: 1px; }
table { border-collapse: collapse; font-size: .85rem; width: 100%; }
th { text-align: left; font-weight: 600; }
td, th { padding: .15rem .5rem; border-bottom: 1px solid var(--line); overflow-wrap: anywhere; }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; overflow-wrap: normal; }
tr[tabindex] { cursor: pointer; }
tr[tabindex]:hover, tr.now { background: var(--user); }
#tensors { max-height: 20rem; overflow-y: auto; }
svg { display: block; width: 100%; height: auto; max-height: 16rem; }
svg text { fill: currentColor; font-size: 11px; }
.note { font-size: .85rem; opacity: .75; margin: .2rem 0; }
.key { display: inline-block; width: .7rem; height: .7rem; border-radius: .15rem; margin: 0 .3rem 0 .8rem; }
.bytes { font: .75rem/1.5 ui-monospace, monospace; overflow-wrap: anywhere; }
.weights { display: grid; grid-template-columns: repeat(16, minmax(0, 1fr)); gap: 1px; font-size: .7rem; }
.weights button { padding: .1rem 0; border-width: 1px; border-radius: .2rem; font-variant-numeric: tabular-nums; overflow: hidden; min-width: 0; }
@media (min-width: 52rem) { .weights { grid-template-columns: repeat(32, minmax(0, 1fr)); } }
footer { font-size: .75rem; opacity: .7; text-align: center; padding: 0 1rem .3rem; min-height: 1.3rem; }
@media (max-width: 30rem) { header { padding: .4rem .6rem; } main, .scroll { padding: .5rem; } nav button { padding: .35rem .55rem; } }
]==]
