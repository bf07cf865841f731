// What a browser can tell of a page that a person may not be able to use: a list of findings.
(() => {
	const found = [], say = s => { if (!found.includes(s)) found.push(s) };
	const name = e => e.tagName.toLowerCase() + (e.className ? '.' + e.className : '') + ' "' + e.textContent.trim().slice(0, 40) + '"';
	const all = s => [...document.querySelectorAll(s)];

	if (document.styleSheets.length !== 1 || document.styleSheets[0].cssRules.length < 20) say('the style was not loaded');

	// Nothing reaches out of the window (WCAG 2.2, 1.4.10).
	const width = document.documentElement.clientWidth;
	if (document.documentElement.scrollWidth > width) say('the page is ' + document.documentElement.scrollWidth + ' wide in a window of ' + width);
	for (const e of all('body *')) {
		const r = e.getBoundingClientRect();
		if (r.right > width + 1 && !e.closest('.skip, thead')) say('reaches to ' + Math.round(r.right) + ' of ' + width + ': ' + name(e));
		if (e.scrollWidth > e.clientWidth + 1 && e.clientWidth > 1 && getComputedStyle(e).overflowX !== 'visible') say('is cut: ' + name(e));
	}

	// Text stands out by 4.5 to 1, whatever its size (1.4.3).
	const channels = s => s.match(/[\d.]+/g).map(Number);
	const light = c => { const [r, g, b] = c.slice(0, 3).map(v => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4); return 0.2126 * r + 0.7152 * g + 0.0722 * b };
	const behind = e => { for (; e; e = e.parentElement) { const c = channels(getComputedStyle(e).backgroundColor); if (c.length < 4 || c[3] === 1) return c } return [255, 255, 255] };
	const ratio = (a, b) => { const [x, y] = [light(a), light(b)].sort((p, q) => q - p); return (x + 0.05) / (y + 0.05) };
	let texts = 0;
	const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
	for (let n; n = walk.nextNode();) {
		if (!n.data.trim()) continue;
		texts++;
		const e = n.parentElement, got = ratio(channels(getComputedStyle(e).color), behind(e));
		if (got < 4.5) say('contrast ' + got.toFixed(2) + ': ' + name(e));
	}
	for (const e of all('td')) {
		const label = getComputedStyle(e, '::before');
		if (label.content !== 'none' && ratio(channels(label.color), behind(e)) < 4.5) say('contrast of the label of ' + name(e));
	}
	if (texts < 30) say('only ' + texts + ' texts');

	// Landmarks, headings, names (1.3.1, 2.4.1, 2.4.4, 4.1.2).
	for (const [what, n] of [['body > header', 1], ['body > footer', 1], ['main', 1], ['h1', 1], ['header nav[aria-label]', 1], ['a.skip[href="#main"]', 1], ['main > section', 5]])
		if (all(what).length !== n) say(all(what).length + ' of ' + what);
	if (!document.documentElement.lang || !document.title) say('no language or title');
	for (const e of all('main > section')) if (!document.getElementById(e.getAttribute('aria-labelledby'))?.textContent) say('no name: section ' + e.id);
	for (const e of all('table')) {
		if (!e.caption?.textContent.trim()) say('a table has no caption');
		const columns = e.tHead.rows[0].cells.length;
		for (const r of e.tBodies[0].rows) if (r.cells.length !== columns || r.cells[0].scope !== 'row') say('a row has ' + r.cells.length + ' cells of ' + columns);
		for (const h of e.tHead.rows[0].cells) if (h.scope !== 'col' || !h.textContent.trim()) say('a column has no header');
	}
	const ids = all('[id]').map(e => e.id);
	if (new Set(ids).size !== ids.length) say('two elements have one id');
	for (const e of all('a')) {
		if (!(e.getAttribute('aria-label') || e.textContent).trim()) say('a link has no name');
		if (e.hash && e.pathname === location.pathname && !document.getElementById(e.hash.slice(1))) say('a link leads nowhere: ' + e.hash);
	}
	for (const e of all('progress')) if (!e.getAttribute('aria-label')) say('a progress bar has no name');
	for (const e of all('nav a')) if (e.getBoundingClientRect().height < 24) say('too low to be hit: ' + name(e)); // 2.5.8
	return found.slice(0, 20);
})()
