// SPDX-License-Identifier: Apache-2.0
// Runs at the end of a copy of the report and leaves what it saw in <pre id="probe"> as JSON.
(() => {
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  const seen = {
    width: innerWidth,
    dark: matchMedia('(prefers-color-scheme: dark)').matches,
    sections: all('main > section').map(e => e.id),
    closed: all('details:not([open])').length,
  };

  // Everything is looked at opened.
  all('details').forEach(d => { d.open = true; });
  seen.height = document.documentElement.scrollHeight;
  seen.overflow = document.documentElement.scrollWidth - innerWidth;
  seen.pictures = all('svg:not(.key)').map(e => e.getBoundingClientRect()).map(r => [r.width, r.height]);
  seen.figures = all('figure').length;
  seen.tables = all('figure table').length;
  seen.marks = all('.pair mark').length;
  seen.rows = Object.fromEntries(
      all('tr[id]').map(row => [row.id, all('data', row).map(d => d.value === 'null' ? null : Number(d.value))]));
  seen.distances = all('#distances table').map(t => all('data', t).map(d => Number(d.value)));
  seen.missing = all('a').map(a => a.getAttribute('href')).filter(h => !document.querySelector(h));

  // Words within their picture, and not upon each other.
  seen.cut = [];
  seen.overlaps = [];
  for (const svg of all('svg.chart, svg.heat, svg.arcs')) {
    const frame = svg.viewBox.baseVal;
    const boxes = all('text', svg).map(t => [t.textContent, t.getBBox(), t]);
    for (const [words, b, t] of boxes)
      if (!t.hasAttribute('transform') &&
          (b.x < -1 || b.y < -1 || b.x + b.width > frame.width + 1 || b.y + b.height > frame.height + 1))
        seen.cut.push(words);
    boxes.forEach(([words, a], i) => boxes.slice(0, i).forEach(([other, b]) => {
      const x = Math.min(a.x + a.width, b.x + b.width) - Math.max(a.x, b.x);
      const y = Math.min(a.y + a.height, b.y + b.height) - Math.max(a.y, b.y);
      if (x > 1 && y > 3) seen.overlaps.push(words + ' | ' + other);
    }));
  }

  // By keyboard: everything that scrolls, folds or leads elsewhere takes the focus, and shows it.
  const reached = all('a, summary, [tabindex="0"]');
  seen.focusable = reached.length;
  seen.unfocused = reached.filter(e => {
    e.focus();
    return document.activeElement !== e || getComputedStyle(e).outlineStyle === 'none';
  }).map(e => e.outerHTML.slice(0, 80));
  seen.scrollers = all('*').filter(e => e.scrollWidth > e.clientWidth + 1 &&
      ['auto', 'scroll'].includes(getComputedStyle(e).overflowX) && e.tabIndex !== 0).length;

  // Contrast by WCAG 2: of text, and of all the rules' colours upon a figure.
  const channels = colour => colour.match(/[\d.]+/g).map(Number);
  const light = colour => {
    const [r, g, b] = channels(colour).slice(0, 3).map(v => v / 255)
        .map(v => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = e => {
    for (; e; e = e.parentElement) {
      const c = channels(getComputedStyle(e).backgroundColor);
      if (c.length === 3 || c[3] === 1) return 'rgb(' + c.slice(0, 3) + ')';
    }
    return 'rgb(255,255,255)';
  };
  const contrast = (e, colour) => {
    const [a, b] = [light(colour), light(behind(e))].sort((x, y) => y - x);
    return (a + 0.05) / (b + 0.05);
  };
  seen.contrast = {};
  for (const selector of ['h1', 'p', '.lead', 'a', 'figcaption span', 'td', 'caption', 'mark', '.same', '.card span', 'footer'])
    seen.contrast[selector] = Math.min(...all(selector).map(e => contrast(e, getComputedStyle(e).color)));
  for (const selector of ['.tick', '.label'])
    seen.contrast[selector] = Math.min(...all('svg ' + selector).map(e => contrast(e, getComputedStyle(e).fill)));
  const figure = document.querySelector('figure');
  for (const style of ['full', 's0', 's1', 's2', 's3', 's4', 's5', 's6', 's7']) {
    const word = figure.appendChild(document.createElement('i'));
    word.className = style;
    seen.contrast[style] = contrast(word, getComputedStyle(word).color);
    word.remove();
  }

  const out = document.body.appendChild(document.createElement('pre'));
  out.id = 'probe';
  out.textContent = JSON.stringify(seen);
})();
