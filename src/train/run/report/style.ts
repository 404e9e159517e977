/** The look of a report: by day, and at night where the reader's system says so. */

const DARK = `
body { background: #15181d; color: #dde1e7; }
h1, h2 { color: #f2f4f7; }
figure, table, .tile { border-color: #333a44; background: #1b1f26; }
th, td { border-color: #2a3039; }
.muted, .tick, .label, .note, .legend { color: #9aa4b2; fill: #9aa4b2; }
.title { fill: #f2f4f7; }
.grid { stroke: #2a3039; }
.axis { stroke: #66707e; }
.curve.c0 { stroke: #6aa5ff; } .dot.c0 { fill: #6aa5ff; }
.curve.c1 { stroke: #ffab4d; } .dot.c1 { fill: #ffab4d; }
.curve.c2 { stroke: #5fd08a; } .dot.c2 { fill: #5fd08a; }
.good { color: #5fd08a; } .bad { color: #ff7b72; }
`;

export const STYLE = `
body { margin: 0 auto; padding: 24px; max-width: 1360px; background: #f7f8fa; color: #22272e;
  font: 15px/1.45 system-ui, "Segoe UI", "DejaVu Sans", sans-serif; }
h1, h2 { color: #101418; margin: 0 0 12px; line-height: 1.2; }
h1 { font-size: 24px; } h2 { font-size: 18px; margin-top: 32px; }
.tiles { display: flex; flex-wrap: wrap; gap: 12px; }
.tile { border: 1px solid #dfe3e8; border-radius: 8px; padding: 8px 14px; background: #fff; }
.tile b { display: block; font-size: 20px; }
.charts { display: grid; gap: 16px; grid-template-columns: repeat(auto-fit, minmax(min(100%, 480px), 1fr)); }
figure { margin: 0; padding: 8px; border: 1px solid #dfe3e8; border-radius: 8px; background: #fff; }
svg { display: block; width: 100%; height: auto; font-family: system-ui, "Segoe UI", "DejaVu Sans", sans-serif; }
table { border-collapse: collapse; background: #fff; border: 1px solid #dfe3e8; }
th, td { padding: 4px 12px; border-bottom: 1px solid #eceff2; text-align: left; vertical-align: top;
  overflow-wrap: anywhere; }
.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
.scroll { overflow: auto; max-height: 520px; }
.muted, .tick, .label, .note, .legend { color: #5b6673; fill: #5b6673; }
.tick, .label, .legend { font-size: 11.5px; text-anchor: middle; }
.tick.y { text-anchor: end; }
.legend { text-anchor: start; }
.note { font-size: 14px; text-anchor: middle; }
.title { font-size: 14px; font-weight: 600; fill: #101418; }
.grid { stroke: #e6e9ed; }
.axis { stroke: #8a94a0; }
.curve { fill: none; stroke-width: 2; stroke-linejoin: round; stroke-linecap: round; }
.curve.thin { stroke-width: 1.1; opacity: 0.75; }
.curve.c0 { stroke: #1f6feb; } .dot.c0 { fill: #1f6feb; }
.curve.c1 { stroke: #d9730d; } .dot.c1 { fill: #d9730d; }
.curve.c2 { stroke: #1a8a4a; } .dot.c2 { fill: #1a8a4a; }
.spot { fill: transparent; }
.good { color: #1a7f37; } .bad { color: #cf222e; }
@media (prefers-color-scheme: dark) {${DARK}}
`;
