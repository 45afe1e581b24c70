"""How the status page looks: light and dark by the reader's wish, and one column on a phone. No colour alone says anything."""

STYLE = """
:root{color-scheme:light dark;--ground:light-dark(#f6f7f9,#14171c);--card:light-dark(#fff,#1d2128);
--edge:light-dark(#dfe3e8,#2e343d);--text:light-dark(#1c2128,#e6e9ee);--soft:light-dark(#57606a,#9aa4b2);
--accent:light-dark(#2557c7,#7ea6ff);--good:light-dark(#1a7f4b,#4cc38a);--warn:light-dark(#b26a00,#e2a33c);
--bad:light-dark(#c0312b,#f4766f);--calm:light-dark(#6b7a90,#8b9ab0)}
*{box-sizing:border-box}
body{margin:0;font:15px/1.5 system-ui,sans-serif;background:var(--ground);color:var(--text)}
a{color:var(--accent);text-underline-offset:2px}
header,main,footer{max-width:76rem;margin:0 auto;padding:0 1.5rem}
header{display:flex;flex-wrap:wrap;gap:.25rem 1.5rem;align-items:center;padding-top:1.5rem;padding-bottom:1.25rem}
header p{margin:0}header nav{margin-left:auto}header p,header nav{color:var(--soft);font-size:.875rem}
.name{display:flex;gap:.625rem;align-items:center}
h1{font-size:1.375rem;line-height:1.3;letter-spacing:-.01em;margin:0}
h2{font-size:.9375rem;line-height:1.4;margin:0}
.version{color:var(--soft);font-size:.875rem}
.badge{display:inline-flex;align-items:center;gap:.4rem;font-size:.8125rem;font-weight:600;padding:.1rem .6rem .1rem .5rem;
border-radius:99px;border:1px solid var(--edge);background:var(--card)}
.badge::before{content:"";width:.5rem;height:.5rem;border-radius:50%;background:currentColor}
.good{color:var(--good)}.bad{color:var(--bad)}
main{display:grid;gap:1rem}
.tile,.panel,.alert{background:var(--card);border:1px solid var(--edge);border-radius:12px;min-width:0}
.tiles{display:grid;gap:1rem;grid-template-columns:repeat(4,1fr)}
.tile{padding:.875rem 1.125rem 1rem;display:flex;flex-direction:column}
.tile:nth-child(-n+2){grid-column:span 2}
.tile h2{font-size:.8125rem;font-weight:600;color:var(--soft)}
.figure{font-size:1.75rem;line-height:1.25;font-weight:600;letter-spacing:-.02em;margin:.125rem 0;font-variant-numeric:tabular-nums}
.detail{margin:auto 0 0;font-size:.8125rem;color:var(--soft);font-variant-numeric:tabular-nums}
.tile svg{width:100%;margin:.375rem 0 .625rem}
.tile svg.bar{margin:auto 0}
.pair{display:grid;gap:1rem;grid-template-columns:3fr 2fr;align-items:start}
.pair>div{display:grid;gap:1rem;min-width:0}
.panel{padding:1rem 0 .5rem;overflow-x:auto}.panel h2,.note,.line{padding:0 1.125rem}
.note,.line{margin:.125rem 0 .625rem;font-size:.8125rem;color:var(--soft)}.line{margin-top:.375rem}
table{width:100%;border-collapse:collapse;font-size:.875rem;font-variant-numeric:tabular-nums}
th,td{padding:.5rem .75rem;text-align:left;vertical-align:middle;border-top:1px solid var(--edge)}
th:first-child{padding-left:1.125rem}td:last-child,thead th:last-child{padding-right:1.125rem}
thead th{font-size:.75rem;font-weight:600;color:var(--soft);padding-top:.375rem;padding-bottom:.375rem;border-top:0;white-space:nowrap}
tbody th{font-weight:600;min-width:7rem;overflow-wrap:anywhere}
.n{text-align:right;white-space:nowrap}.plot{width:1%}
.aside{font-size:.8125rem;font-weight:400;color:var(--soft)}th .aside{display:block}
.empty,.none{color:var(--soft)}
code,samp{font:.8125rem/1.5 ui-monospace,monospace;overflow-wrap:anywhere}samp{padding:0 .25em;border:1px solid var(--edge);border-radius:4px}
.chip{display:inline-block;font:.75rem/1.5 ui-monospace,monospace;padding:.05rem .4rem;margin:.0625rem 0;
border-radius:5px;border:1px solid var(--edge);color:var(--soft)}.chip b{color:var(--text)}
svg{display:block}
.axis{stroke:var(--edge);stroke-width:1;fill:none;vector-effect:non-scaling-stroke}
.line:is(path){stroke:var(--accent);stroke-width:1.5;stroke-linejoin:round;fill:none;vector-effect:non-scaling-stroke}
.area{fill:var(--accent);opacity:.14}
rect.empty{fill:var(--edge)}rect.c1{fill:var(--calm)}rect.c2{fill:var(--good)}rect.c3{fill:var(--accent)}
rect.c4{fill:var(--warn)}rect.c5{fill:var(--bad)}
.key{white-space:nowrap;margin-right:.625rem}
.key::before{content:"";display:inline-block;width:.625rem;height:.625rem;border-radius:2px;margin-right:.375rem;background:var(--calm)}
.key.c2::before{background:var(--good)}.key.c3::before{background:var(--accent)}
.key.c4::before{background:var(--warn)}.key.c5::before{background:var(--bad)}
.alert{border-color:var(--bad);border-left-width:4px;padding:1rem 1.125rem}
.alert h2{color:var(--bad)}.alert p{margin:.125rem 0 0;color:var(--soft);font-size:.8125rem}
.alert ul{margin:.625rem 0 0;padding:0;list-style:none;font-size:.875rem}
.alert li{padding:.375rem 0;border-top:1px solid var(--edge);overflow-wrap:anywhere}
.alert li code{display:block}.alert em{display:block;font-style:normal;color:var(--soft)}
footer{padding-top:1.25rem;padding-bottom:2rem;font-size:.8125rem;color:var(--soft)}footer p{margin:0}
.pair .aside{overflow-wrap:anywhere}
@media (max-width:62rem){.pair{grid-template-columns:1fr}.tiles{grid-template-columns:repeat(2,1fr)}.tile svg.bar{margin:.5rem 0 .625rem}
table,tbody{display:block}thead{position:absolute;width:1px;height:1px;overflow:hidden;clip-path:inset(50%)}
tbody tr{display:grid;grid-template-columns:repeat(8,1fr);gap:.5rem .75rem;padding:.75rem 1.125rem;
border-top:1px solid var(--edge)}
tbody tr [role]{border:0;padding:0;text-align:left;display:block;min-width:0;width:auto}
tbody tr th[role],tbody tr .codes,tbody tr .empty{grid-column:1/-1}tbody tr .plot{grid-column:span 2}tbody tr .plot svg{width:100%}tbody tr svg.bar{margin-top:.4rem}
td[data-label]::before{content:attr(data-label);display:block;font-size:.6875rem;line-height:1.5;color:var(--soft)}}
@media (max-width:46rem){header,main,footer{padding-left:1rem;padding-right:1rem}header nav{margin-left:0;width:100%}
.tile:nth-child(-n+2){grid-column:1/-1}tbody tr{grid-template-columns:repeat(4,1fr)}.tile{padding:.75rem 1rem}.figure{font-size:1.5rem}}
"""
