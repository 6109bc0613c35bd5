// SPDX-License-Identifier: Apache-2.0
#pragma once

namespace mini_llama::report {

/// The page's looks. Colours of rules keep a contrast of 3 to 1 or more with the background, light and dark; text keeps
/// 4.5 to 1. `.s0` to `.s7` are the styles of naming.hpp.
inline constexpr const char* style_sheet = R"css(
:root {
  color-scheme: light dark;
  --back: #fdfdfc; --panel: #ffffff; --ink: #1d2127; --pale: #5c6470; --line: #d9dce1; --grid: #eceef1;
  --accent: #0a5fb4; --heat: #0b4f9e; --mark: #ffe08a; --mark-ink: #33270a;
  --full: #1d2127; --s0: #c8401a; --s1: #0a6fb8; --s2: #7d4cc0; --s3: #6a7280; --s4: #0a8457; --s5: #a36a00; --s6: #00838f; --s7: #c02463;
}
@media (prefers-color-scheme: dark) {
  :root {
    --back: #14171b; --panel: #1b1f25; --ink: #e8eaed; --pale: #a3abb7; --line: #3a414b; --grid: #272d35;
    --accent: #7db8f5; --heat: #7db8f5; --mark: #6b5200; --mark-ink: #fff3d0;
    --full: #e8eaed; --s0: #ff8a63; --s1: #66b2f2; --s2: #c0a1ff; --s3: #a3adba; --s4: #4fcf9f; --s5: #eab545; --s6: #4dd0dd; --s7: #ff8db1;
  }
}
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body {
  margin: 0 auto; padding: 1.5rem clamp(1rem, 4vw, 3rem) 4rem; max-width: 86rem;
  background: var(--back); color: var(--ink); font: 1rem/1.55 system-ui, "Segoe UI", "Noto Sans", "DejaVu Sans", sans-serif;
}
h1 { font-size: clamp(1.6rem, 4.5vw, 2.3rem); line-height: 1.2; margin: 0.4rem 0 0.3rem; letter-spacing: -0.01em; }
h2 { font-size: 1.35rem; margin: 3rem 0 0.6rem; padding-top: 1rem; border-top: 1px solid var(--line); }
h3, h4 { font-size: 1rem; margin: 1rem 0 0.4rem; }
p { margin: 0.5rem 0 0.9rem; max-width: 46rem; }
.lead, .source, figcaption span, summary span { color: var(--pale); }
a { color: var(--accent); text-underline-offset: 0.15em; }
:focus-visible { outline: 3px solid var(--accent); outline-offset: 2px; border-radius: 3px; }
.skip { position: absolute; left: -99rem; }
.skip:focus { left: 1rem; top: 0.5rem; background: var(--panel); padding: 0.4rem 0.8rem; z-index: 2; }
nav ul { display: flex; flex-wrap: wrap; gap: 0.3rem 1.1rem; list-style: none; padding: 0; margin: 1rem 0 0; }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 10rem), 1fr)); gap: 0.8rem; margin: 1rem 0 1.4rem; }
.card { background: var(--panel); border: 1px solid var(--line); border-radius: 10px; padding: 0.8rem 1rem; }
.card b { display: block; font-size: 1.7rem; line-height: 1.25; font-variant-numeric: tabular-nums; }
.card span { color: var(--pale); font-size: 0.92rem; }
.note { border-left: 4px solid var(--s5); padding-left: 0.8rem; }
.grid { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 23rem), 1fr)); gap: 1rem; align-items: start; }
figure { margin: 0 0 1rem; background: var(--panel); border: 1px solid var(--line); border-radius: 10px; padding: 0.9rem 1rem 0.7rem; min-width: 0; }
.grid > figure { margin: 0; }
figcaption { margin-bottom: 0.4rem; }
figcaption b, figcaption span { display: block; }
.chart, .heat { display: block; width: 100%; max-width: 34rem; height: auto; margin: 0 auto; }
.maps { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 15rem), 1fr)); gap: 0.4rem 1.2rem; align-items: end; }
.map p { margin: 0; font-size: 0.92rem; color: var(--pale); }
.map b { color: var(--ink); margin-right: 0.4rem; }
.arcs { display: block; width: 100%; max-width: 22rem; height: auto; }
svg text { font: 13px system-ui, "Segoe UI", "Noto Sans", "DejaVu Sans", sans-serif; fill: var(--ink); font-variant-numeric: tabular-nums; }
svg .tick, svg .label { fill: var(--pale); }
svg .middle { text-anchor: middle; }
svg .end { text-anchor: end; }
svg .name { fill: currentColor; font-weight: 600; paint-order: stroke; stroke: var(--panel); stroke-width: 4px; stroke-linejoin: round; }
svg .grid { stroke: var(--grid); stroke-width: 1; }
svg .axis { stroke: var(--pale); stroke-width: 1; }
svg .level { stroke: var(--pale); stroke-width: 1.2; stroke-dasharray: 5 4; }
svg .leader { stroke: currentColor; stroke-width: 0.8; opacity: 0.5; }
svg .curve { fill: none; stroke: currentColor; stroke-width: 2; stroke-linejoin: round; }
svg .band { fill: currentColor; opacity: 0.16; }
svg .mark { fill: currentColor; stroke: var(--panel); stroke-width: 1; }
svg .cross { fill: none; stroke: currentColor; stroke-width: 1.6; }
svg .arc { fill: none; stroke: currentColor; stroke-width: 1.7; opacity: 0.85; }
svg .owner { fill: currentColor; }
svg .reader { fill: var(--panel); stroke: currentColor; stroke-width: 1.3; }
.heat rect { fill: var(--heat); }
.key { width: 0.95em; height: 0.95em; margin-right: 0.4em; vertical-align: -0.1em; }
.full { color: var(--full); } .s0 { color: var(--s0); } .s1 { color: var(--s1); } .s2 { color: var(--s2); } .s3 { color: var(--s3); }
.s4 { color: var(--s4); } .s5 { color: var(--s5); } .s6 { color: var(--s6); } .s7 { color: var(--s7); }
details { margin: 0.5rem 0; }
summary { cursor: pointer; padding: 0.25rem 0; color: var(--ink); }
.pair { border-bottom: 1px solid var(--line); margin: 0; padding: 0.3rem 0; }
.sides { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 20rem), 1fr)); gap: 0 2rem; }
.text { white-space: pre-line; overflow-wrap: anywhere; }
.same { color: var(--pale); }
mark { background: var(--mark); color: var(--mark-ink); padding: 0.05em 0.2em; border-radius: 3px; }
blockquote { margin: 0.6rem 0 1.2rem; padding: 0.1rem 1rem; border-left: 4px solid var(--line); }
.source { font-size: 0.92rem; }
.scroll { overflow-x: auto; border: 1px solid var(--line); border-radius: 8px; background: var(--panel); max-width: 100%; }
details .scroll { max-height: 26rem; overflow-y: auto; }
table { border-collapse: collapse; font-size: 0.92rem; font-variant-numeric: tabular-nums; width: 100%; }
caption { text-align: left; padding: 0.5rem 0.8rem; color: var(--pale); }
th, td { padding: 0.3rem 0.8rem; text-align: left; white-space: nowrap; border-top: 1px solid var(--grid); }
thead th { font-weight: 600; color: var(--pale); vertical-align: bottom; }
tbody th { font-weight: 400; }
.number { text-align: right; }
tr:target { background: color-mix(in srgb, var(--accent) 18%, transparent); }
code { font: 0.9em ui-monospace, "DejaVu Sans Mono", monospace; }
footer { margin-top: 3rem; padding-top: 1rem; border-top: 1px solid var(--line); color: var(--pale); font-size: 0.92rem; }
@media (max-width: 40rem) { figure { padding: 0.7rem 0.6rem; } h2 { margin-top: 2rem; } }
@media print { .scroll { overflow: visible; } nav, .skip { display: none; } }
)css";

}  // namespace mini_llama::report
