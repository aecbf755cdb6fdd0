/** The page's looks. */
export const STYLE = `
body{font:15px/1.5 system-ui,sans-serif;max-width:1200px;margin:2rem auto;padding:0 1rem;color:#1e293b;background:#f8fafc}
h1{margin-bottom:.5rem}h1::after{content:"";display:block;width:4rem;height:4px;background:#c2410c;margin-top:.3rem}
h2{margin:2.2rem 0 .6rem}h3{margin:0 0 .4rem;color:#c2410c}
a{color:#0e7490;text-decoration:none}a:hover{text-decoration:underline}
table{border-collapse:collapse;background:#fff;font-variant-numeric:tabular-nums}
td,th{padding:.3rem .65rem;text-align:right;border-bottom:1px solid #e2e8f0;vertical-align:top}
th{font-weight:600;color:#475569;font-size:13px}
td:first-child,th:first-child,.facts td,.facts th,.targets td,.targets th{text-align:left}
.targets td:nth-child(3),.targets td:nth-child(4){text-align:right;white-space:nowrap}.targets td:nth-child(2){white-space:nowrap}
.facts th{white-space:nowrap}.facts{margin-bottom:.6rem}.facts td{overflow-wrap:anywhere}
.wide{overflow-x:auto}.wide td{white-space:nowrap}
.unit,.ref{color:#64748b;font-weight:400;font-size:13px}
.reached,.missed{font-weight:600}.reached{color:#15803d}.missed{color:#b45309}
.figures{display:grid;grid-template-columns:repeat(auto-fit,minmax(560px,1fr));gap:1rem;margin:1rem 0;align-items:start}
figure{margin:0;padding:.5rem;background:#fff;border:1px solid #e2e8f0;border-radius:6px;overflow-x:auto}
section{background:#fff;border:1px solid #e2e8f0;border-radius:6px;padding:1rem;margin:0 0 1rem}section figure{border:0}
code{font-size:13px}`;
