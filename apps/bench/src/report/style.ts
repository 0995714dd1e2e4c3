/** Colours of a page or a chart, light and dark; series have those of Okabe and Ito, a little lighter on dark. */
export const colors = `
:root{color-scheme:light dark;--paper:#fcfcfa;--card:#fff;--ink:#1c2127;--soft:#5b6470;--line:#e4e4de;--grid:#ecece7;--accent:#0072b2;
--warn:#8a4b00;--warn-bg:#fff4e0;--bad:#a8241c;--bad-bg:#fdecea;--good:#00664b;--good-bg:#e6f4ef;
--s0:#0072b2;--s1:#3b9fd8;--s2:#d98c00;--s3:#009e73;--s4:#c0608f;--s5:#d55e00;--s6:#6b6f76}
@media (prefers-color-scheme:dark){:root{--paper:#14171b;--card:#1a1e23;--ink:#e8eaed;--soft:#9da6b1;--line:#2c323a;--grid:#272c33;--accent:#6cb8ea;
--warn:#ffc46b;--warn-bg:#33270f;--bad:#ff9d94;--bad-bg:#3a1b19;--good:#6fd3b0;--good-bg:#12312a;
--s0:#4aa5e0;--s1:#8fd0f7;--s2:#f0b03c;--s3:#33c29a;--s4:#e296bd;--s5:#f08744;--s6:#9aa1aa}}
`;

/** What is within a chart. */
export const chartStyle = `
svg text{font-family:inherit;fill:var(--ink);font-size:11.5px}
svg .tick{fill:var(--soft);font-size:11px}svg .axis{fill:var(--soft);font-size:11px}
svg .name{font-size:11.5px;paint-order:stroke;stroke:var(--paper);stroke-width:2.5px;stroke-linejoin:round}svg .value{font-size:11.5px;font-weight:600;paint-order:stroke;stroke:var(--paper);stroke-width:3px;stroke-linejoin:round}
svg .grid{stroke:var(--grid)}svg .base{stroke:var(--soft);stroke-width:1;fill:none;opacity:.7}
svg .threshold{stroke:var(--bad);stroke-width:1.25;stroke-dasharray:4 3}
svg .mark-line{stroke:var(--ink);stroke-width:1.3}
svg .band{opacity:.18}svg .none{fill:var(--grid)}
svg .front{stroke:var(--ink);stroke-width:1.2;stroke-dasharray:4 3;fill:none;opacity:.6}
svg .error{stroke:var(--ink);stroke-width:1.2;fill:none;opacity:.75}
svg .stem{stroke-width:2;opacity:.4}
svg .mark{stroke:var(--card);stroke-width:1}
svg .series polyline{fill:none;stroke-width:1.9;stroke-linejoin:round}
`;

/** The page's style sheet: system fonts, light and dark. */
export const style = `
${colors}*{box-sizing:border-box}
html{-webkit-text-size-adjust:100%;scroll-behavior:smooth}
@media (prefers-reduced-motion:reduce){html{scroll-behavior:auto}}
body{margin:0;background:var(--paper);color:var(--ink);font:15.5px/1.55 ui-sans-serif,system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif;
font-variant-numeric:tabular-nums;overflow-wrap:break-word}
main,header,footer{max-width:1208px;margin:0 auto;padding:0 24px}
header{padding-top:44px}
.eyebrow{margin:0;color:var(--accent);font-weight:600;font-size:13px;letter-spacing:.07em;text-transform:uppercase}
h1{margin:4px 0 6px;font-size:clamp(28px,5vw,40px);line-height:1.12;letter-spacing:-.022em;font-weight:680}
.lead{margin:0;max-width:66ch;color:var(--soft);font-size:17px}
h2{margin:64px 0 4px;font-size:24px;line-height:1.25;letter-spacing:-.014em;font-weight:660;scroll-margin-top:20px}
h3{margin:34px 0 2px;font-size:16.5px;line-height:1.35;font-weight:640}
h2+p,h3+p{margin-top:2px}
p{max-width:76ch}
.soft,figcaption,.note{color:var(--soft)}
.note{font-size:14px}
a{color:var(--accent);text-underline-offset:2px}
code{font:.9em ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;background:var(--grid);padding:.1em .35em;border-radius:4px}
:focus-visible{outline:2px solid var(--accent);outline-offset:2px;border-radius:3px}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(132px,1fr));gap:1px;margin:26px 0 14px;padding:0;background:var(--line);border:1px solid var(--line);border-radius:10px;overflow:hidden}
.tiles div{background:var(--card);padding:13px 16px}
.tiles dt{color:var(--soft);font-size:13px}
.tiles dd{margin:0;font-size:21px;font-weight:630;letter-spacing:-.01em}
.tiles dd small{font-size:13px;font-weight:400;color:var(--soft);letter-spacing:0}
nav{display:flex;flex-wrap:wrap;gap:4px 18px;margin:16px 0 0;padding:12px 0;border-top:1px solid var(--line);border-bottom:1px solid var(--line);font-size:14px}
nav a{text-decoration:none}nav a:hover{text-decoration:underline}
.cards{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,330px),1fr));gap:14px;margin:18px 0}
.card{background:var(--card);border:1px solid var(--line);border-radius:10px;padding:15px 18px 14px}
.card h3{display:flex;align-items:center;gap:9px;margin:0 0 4px}
.card ul{margin:0;padding:0;list-style:none;font-size:15px}
.card li{padding:5px 0}.card li+li{border-top:1px solid var(--grid)}
.key{flex:none;width:16px;height:16px}
.chips{display:flex;flex-wrap:wrap;gap:8px;margin:14px 0 10px}
.chips button{font:inherit;font-size:13.5px;padding:4px 12px;border:1px solid var(--line);border-radius:99px;background:var(--card);color:var(--ink);cursor:pointer}
.chips button[aria-pressed=true]{background:var(--ink);border-color:var(--ink);color:var(--paper)}
.chips input{font:inherit;font-size:14px;padding:4px 12px;border:1px solid var(--line);border-radius:99px;background:var(--card);color:var(--ink);min-width:0;flex:1 1 180px;max-width:280px}
.scroll{overflow-x:auto;border:1px solid var(--line);border-radius:10px;background:var(--card);-webkit-overflow-scrolling:touch}
table{border-collapse:separate;border-spacing:0;width:100%;font-size:13.5px}
.scroll.fit{width:fit-content;max-width:100%}
caption{text-align:left}
th,td{padding:7px 10px;text-align:left;white-space:nowrap;border-bottom:1px solid var(--grid);vertical-align:baseline}
tbody tr:last-child>*{border-bottom:0}
thead th{color:var(--soft);font-weight:560;font-size:13px;border-bottom-color:var(--line)}
tbody th{font-weight:600}
#cross-table tbody th{white-space:normal;min-width:190px;max-width:230px}#cross-table td.wrap{white-space:normal;min-width:118px;font-size:12px;line-height:1.35}#cross-table td small{display:block;line-height:1.3}
@media (max-width:700px){#cross-table tbody th{min-width:150px}}.under{display:block;padding-left:21px}th .key{width:13px;height:13px;margin-right:4px;vertical-align:-2px}
th small.under{font-size:12px;line-height:1.3}
#cross-table th,#cross-table td{padding-left:7px;padding-right:7px}
th:first-child{position:sticky;left:0;background:var(--card);z-index:1}
.n{text-align:right}
td small,th small{color:var(--soft);font-weight:400;font-size:12.5px}
th button{all:unset;cursor:pointer;white-space:nowrap}
th button:focus-visible{outline:2px solid var(--accent);outline-offset:3px}
th button::after{content:"↕";opacity:.4;margin-left:5px}
th[aria-sort=ascending] button::after{content:"↑";opacity:1}
th[aria-sort=descending] button::after{content:"↓";opacity:1}
tbody tr:hover>*{background:var(--grid)}
tbody tr.ref>*{color:var(--soft);font-weight:400}
table.heat th,table.heat td{text-align:center;padding:6px 7px}table.heat th:first-child{text-align:left}
table.heat thead th{white-space:normal;overflow-wrap:normal;max-width:96px;font-size:12px;line-height:1.25;vertical-align:bottom}
table.heat td{background:color-mix(in srgb,var(--s3) calc(var(--v,0%)*.55),transparent)}
table.heat .first{border-left:2px solid var(--line)}
.dim{color:var(--soft)}
.tag{display:inline-block;padding:0 9px;border-radius:99px;font-size:12.5px;font-weight:600;line-height:1.75}
.tag.ok{color:var(--good);background:var(--good-bg)}.tag.warn,.tag.skipped{color:var(--warn);background:var(--warn-bg)}.tag.failed{color:var(--bad);background:var(--bad-bg)}
.alert{border-left:3px solid;border-radius:0 10px 10px 0;padding:11px 16px;margin:12px 0;background:var(--warn-bg);border-color:var(--warn)}
.alert.failed{background:var(--bad-bg);border-color:var(--bad)}
.alert p{margin:2px 0}
.alert code{background:transparent;padding:0}
.figures{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,330px),1fr));gap:22px 26px;margin:16px 0;align-items:start}
.figures.pairs{grid-template-columns:repeat(auto-fill,minmax(min(100%,440px),1fr))}
figure{margin:0;min-width:0}
figure h4{margin:0 0 4px;font-size:14px;font-weight:620}
figure svg{display:block;width:100%;height:auto;max-width:520px}
.pairs figure svg{max-width:440px}
figure.wide{margin:16px 0}figure.wide svg{max-width:none}
.only-narrow{display:none!important}
@media (max-width:700px){.only-wide{display:none!important}.only-narrow{display:block!important}main,header,footer{padding:0 16px}header{padding-top:28px}h2{margin-top:48px}}
figcaption{font-size:13.5px;line-height:1.45;margin-top:6px;max-width:76ch}
.legend{display:flex;flex-wrap:wrap;gap:3px 18px;margin:12px 0 0;padding:0;list-style:none;font-size:13.5px}
figure .legend{margin:2px 0 4px;font-size:13px}
.legend li{display:flex;align-items:center;gap:7px}
.legend svg{flex:none;width:auto;height:auto}
${chartStyle}details{margin:12px 0}summary{cursor:pointer;color:var(--accent)}
dl.facts{display:grid;grid-template-columns:max-content minmax(0,1fr);gap:2px 18px;font-size:14px;margin:10px 0}
dl.facts dt{color:var(--soft)}dl.facts dd{margin:0;overflow-wrap:anywhere}
footer{margin-top:72px;padding-top:16px;padding-bottom:48px;border-top:1px solid var(--line);color:var(--soft);font-size:14px}
@media print{nav,.chips{display:none}.scroll{overflow:visible}}
`;
