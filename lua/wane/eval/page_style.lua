--- Style sheet and script of the report page.
local M = {}

--- Two sets of colours; everything else refers to them.
M.css = [[
:root{--bg:#f6f5f1;--card:#fff;--ink:#1d1e22;--soft:#6d7078;--line:#e4e2dc;--accent:#2f55d4;--hot:#d9480f;
--cool:#fbeee4;--fill:#c9d4f7;--hotink:#14120f;--edge:#00000022;--shadow:0 1px 2px #0000000d,0 6px 20px #0000000a}
@media(prefers-color-scheme:dark){:root{--bg:#0f1013;--card:#17191e;--ink:#e9e9ec;--soft:#989ca6;--line:#2a2d34;
--accent:#8fa8ff;--hot:#ff7a3c;--cool:#241f1e;--fill:#2c3a6b;--hotink:#1a0d06;--edge:#00000088;--shadow:none}}
*{box-sizing:border-box}
body{margin:0;background:var(--bg);color:var(--ink);font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,
"DejaVu Sans",sans-serif;font-variant-numeric:tabular-nums}
main{max-width:1240px;margin:0 auto;padding:40px 20px 60px}
header{display:flex;gap:16px;align-items:center;margin-bottom:24px}
h1{font-size:28px;line-height:1.2;margin:0;letter-spacing:-.02em}
header p{margin:4px 0 0;color:var(--soft)}
header b{color:var(--ink)}
.moon{width:44px;height:44px;flex:none;fill:var(--accent)}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(220px,1fr));gap:14px;margin-bottom:14px}
.tile,.card{background:var(--card);border:1px solid var(--line);border-radius:14px;box-shadow:var(--shadow)}
.tile{padding:14px 18px;display:flex;flex-direction:column}
.tile span{color:var(--soft);font-size:12.5px}
.tile b{font-size:19px;letter-spacing:-.01em;overflow-wrap:anywhere}
.tile em{font-style:normal;color:var(--soft)}
.card{padding:20px 22px;margin-bottom:14px}
h2{font-size:17px;margin:0;letter-spacing:-.01em}
.note{margin:2px 0 14px;color:var(--soft);font-size:13.5px}
code{font:.92em ui-monospace,"DejaVu Sans Mono",monospace}
svg{display:block;width:100%;height:auto}
svg text{fill:var(--soft);font:12px system-ui,"DejaVu Sans",sans-serif}
.mid{text-anchor:middle}.end{text-anchor:end}
svg .axis{font-size:12.5px}
svg .name,svg .label{fill:var(--ink)}
.grid{stroke:var(--line);stroke-width:1}
.front{fill:none;stroke:var(--accent);stroke-width:2;stroke-linejoin:round;opacity:.55}
.run{fill:none;stroke:var(--soft);stroke-width:1;opacity:.7}
.point circle{fill:var(--card);stroke:var(--soft);stroke-width:2}
.point .bar{stroke:var(--soft);stroke-width:1.5}
.point.best circle{fill:var(--accent);stroke:var(--accent)}
.point.best .bar{stroke:var(--accent)}
.point.best .label{font-weight:600}
.point:hover circle{fill:var(--hot);stroke:var(--hot)}
.heat{fill:color-mix(in srgb,var(--hot) calc(var(--k)*100%),var(--cool))}
g:hover>.heat{stroke:var(--ink);stroke-width:1.5}
svg .cell{font-size:10.5px;fill:var(--ink);pointer-events:none}
svg .cell.hot{fill:var(--hotink)}
.hist{fill:var(--fill)}
.level{stroke:var(--accent);stroke-width:1;opacity:.45}
.base{stroke:var(--soft);stroke-width:1}
.move{stroke:var(--soft);stroke-width:1;opacity:.5}
.was{fill:var(--soft)}.is{fill:var(--accent)}
.wide{overflow-x:auto;margin:0 -22px -8px;padding:0 22px 8px;background:linear-gradient(90deg,var(--card) 50%,transparent) 0/48px 100%,
linear-gradient(270deg,var(--card) 50%,transparent) 100%/48px 100%,linear-gradient(90deg,var(--edge),transparent) 0/16px 100%,
linear-gradient(270deg,var(--edge),transparent) 100%/16px 100%;background-repeat:no-repeat;
background-attachment:local,local,scroll,scroll}
table{border-collapse:collapse;width:100%;font-size:12.5px;white-space:nowrap}
th,td{padding:7px 4px;text-align:right;border-bottom:1px solid var(--line)}
th{color:var(--soft);font-weight:500;vertical-align:bottom}
th:first-child,td:first-child{text-align:left;position:sticky;left:-22px;background:var(--card);padding-left:0}
td:first-child{font-weight:600}
tr.best td:first-child{color:var(--accent)}
tbody tr:last-child td{border-bottom:0}
small{display:block;font-weight:400;color:var(--soft);font-size:11.5px}
td small{display:inline}
nav{display:flex;flex-wrap:wrap;gap:8px;margin:26px 0 14px}
button{font:inherit;font-size:14px;color:var(--ink);background:var(--card);border:1px solid var(--line);
border-radius:999px;padding:6px 16px;cursor:pointer}
button[aria-pressed=true]{background:var(--accent);border-color:var(--accent);color:var(--card);font-weight:600}
.passage{font:16px/1.85 Georgia,"DejaVu Serif",serif;white-space:pre-wrap;overflow-wrap:anywhere}
.passage span{background:color-mix(in srgb,var(--hot) calc(var(--k)*62%),transparent);border-radius:3px;padding:1px 0}
.passage .other,.note u{text-decoration:underline;text-decoration-color:var(--accent);text-decoration-thickness:2px;
text-underline-offset:4px}
.passage span:hover{outline:2px solid var(--accent)}
.beside{display:grid;grid-template-columns:minmax(0,1fr) minmax(0,400px);gap:28px;align-items:start}
.worst{white-space:normal;font-size:13px}
.worst td,.worst th{vertical-align:top}
.worst td:first-child{font-family:Georgia,"DejaVu Serif",serif;font-weight:400;overflow-wrap:anywhere;position:static}
.worst small{font-family:system-ui,"DejaVu Sans",sans-serif}
td small{white-space:nowrap}.worst td small{display:block}.worst td:first-child small{white-space:normal}
mark{background:color-mix(in srgb,var(--hot) 55%,transparent);color:inherit;border-radius:3px}
dl{display:grid;grid-template-columns:max-content minmax(0,1fr);gap:6px 18px;margin:0;font-size:13.5px}
dt{color:var(--soft)}dd{margin:0;overflow-wrap:anywhere}
@media(max-width:760px){main{padding:20px 10px 40px}header{align-items:flex-start;gap:12px}h1{font-size:22px}
.card{padding:16px 14px;overflow-x:auto}.pane svg{min-width:680px}
.card>svg text,.card>svg .axis{font-size:14px}.card>svg .axis[transform]{display:none}.beside{grid-template-columns:minmax(0,1fr)}
.wide{margin:0 -14px -8px;padding:0 14px 8px}th:first-child,td:first-child{left:-14px}
dl{grid-template-columns:minmax(0,1fr);gap:0}dd{margin-bottom:8px}}
footer{color:var(--soft);font-size:12.5px;text-align:center;margin-top:24px}
@media print{body{background:#fff}.pane[hidden]{display:block!important}nav{display:none}.card{break-inside:avoid}}
]]

--- Buttons show one model's pictures at a time.
M.script = [[
document.querySelectorAll("nav button").forEach(function(b){b.addEventListener("click",function(){
document.querySelectorAll("nav button").forEach(function(o){o.setAttribute("aria-pressed",o===b)});
document.querySelectorAll(".pane").forEach(function(p){p.hidden=p.id!=="pane"+b.dataset.pane})})});
]]

return M
