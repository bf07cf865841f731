package render

import (
	"encoding/base64"
	"fmt"
	"html"
	"strings"
)

const htmlWhere = "The certificate itself is in this file: save it by the link certificate.json below."

// HTML is the certificate as one page for a browser, with the certificate in it. It loads nothing and runs nothing, and
// its policy forbids both.
func (f *Form) HTML() ([]byte, error) {
	p := f.page(htmlWhere)
	w := &htmlWriter{}
	w.raw("<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n")
	w.raw("<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; img-src data:\">\n")
	w.raw("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<meta name=\"referrer\" content=\"no-referrer\">\n")
	w.element("title", "", p.title+": "+p.name+", "+p.verdict.words)
	w.raw("<style>\n" + htmlStyle + "</style>\n</head>\n<body>\n")
	if p.band != "" {
		w.raw("<p class=\"band\" role=\"alert\"><strong>" + html.EscapeString(p.band) + "</strong></p>\n")
	}
	w.raw("<main>\n<header>\n")
	w.letterhead(p.site)
	w.element("h1", "", p.title)
	w.element("p", "intro", p.intro)
	w.raw("</header>\n")
	w.verdict(p.verdict)
	w.raw("<div class=\"beside\">\n")
	w.section(p.drive)
	w.section(p.given)
	w.raw("</div>\n")
	for _, s := range p.sections {
		w.section(s)
	}
	if p.areas != nil {
		w.areas(p.areas)
	}
	if err := w.check(p, f); err != nil {
		return nil, err
	}
	w.raw("</main>\n")
	w.element("footer", "", "certificate SHA-256 "+f.digest+" - what is signed counts, not this page")
	w.raw("</body>\n</html>\n")
	return []byte(w.b.String()), nil
}

// htmlWriter writes elements. Whatever is not written by raw is escaped.
type htmlWriter struct{ b strings.Builder }

func (w *htmlWriter) raw(s string) { w.b.WriteString(s) }

// shownText keeps ends of lines visible: a text that was given stays one.
func shownText(s string) string { return html.EscapeString(strings.ReplaceAll(s, "\n", "\u00b6")) }

func (w *htmlWriter) element(name, class, text string) {
	if class != "" {
		class = ` class="` + class + `"`
	}
	fmt.Fprintf(&w.b, "<%s%s>%s</%s>\n", name, class, shownText(text), name)
}

func (w *htmlWriter) letterhead(s Site) {
	if s.Name == "" {
		return
	}
	w.raw("<address>\n")
	if s.logo != nil {
		fmt.Fprintf(&w.b, "<img alt=\"\" src=\"data:image/png;base64,%s\">\n", base64.StdEncoding.EncodeToString(s.logo.png))
	}
	w.element("strong", "", s.Name)
	for _, line := range s.Address {
		w.element("span", "", line)
	}
	w.element("small", "", "letterhead, no part of the certificate")
	w.raw("</address>\n")
}

func (w *htmlWriter) verdict(v verdict) {
	class := [...]string{done: "done", partly: "partly", undone: "undone", pretended: "pretended"}[v.grade]
	sign := [...]string{done: "\u2713", partly: "!", undone: "\u2717", pretended: "\u25cb"}[v.grade]
	fmt.Fprintf(&w.b, "<section class=\"verdict %s\">\n<span class=\"sign\" aria-hidden=\"true\">%s</span>\n<div>\n", class, sign)
	w.element("h2", "", v.words)
	for _, sentence := range v.plain {
		w.element("p", "", sentence)
	}
	w.raw("</div>\n</section>\n")
}

func (w *htmlWriter) heading(title, note string) {
	w.raw("<h2>" + html.EscapeString(title))
	if note != "" {
		w.raw(" <small>(" + html.EscapeString(note) + ")</small>")
	}
	w.raw("</h2>\n")
}

func (w *htmlWriter) section(s section) {
	w.raw("<section>\n")
	w.heading(s.title, s.note)
	w.table(s.rows)
	w.raw("</section>\n")
}

func (w *htmlWriter) table(rows []row) {
	w.raw("<table>\n<tbody>\n")
	for _, r := range rows {
		value := shownText(r.value)
		switch r.style {
		case exact:
			value = "<code>" + value + "</code>"
		case strong:
			value = "<strong>" + value + "</strong>"
		}
		fmt.Fprintf(&w.b, "<tr><th scope=\"row\">%s</th><td>%s</td></tr>\n", html.EscapeString(r.label), value)
	}
	w.raw("</tbody>\n</table>\n")
}

func (w *htmlWriter) areas(a *areas) {
	w.raw("<section>\n")
	w.heading(a.title, a.more)
	w.raw("<table>\n<thead><tr><th scope=\"col\">Blocks</th><th scope=\"col\">What was wrong</th></tr></thead>\n<tbody>\n")
	for _, e := range a.list {
		where, what := a.line(e)
		fmt.Fprintf(&w.b, "<tr><td>%s</td><td>%s</td></tr>\n", shownText(where), shownText(what))
	}
	w.raw("</tbody>\n</table>\n</section>\n")
}

// check has the certificate as a link, which no browser opens as a page.
func (w *htmlWriter) check(p *page, f *Form) error {
	w.raw("<section>\n")
	w.heading(p.check.title, p.check.note)
	w.raw("<div class=\"check\">\n<div>\n<ol>\n")
	for _, s := range p.steps {
		w.raw("<li>" + shownText(s.text))
		if s.command != "" {
			w.raw("<br><code>" + shownText(s.command) + "</code>")
		}
		w.raw("</li>\n")
	}
	fmt.Fprintf(&w.b, "</ol>\n<p><a download=\"%s\" href=\"data:application/json;base64,%s\">%s</a> (%s)</p>\n",
		attachmentName, base64.StdEncoding.EncodeToString(f.bundle), attachmentName, count(int64(len(f.bundle)), "byte"))
	w.table(p.check.rows)
	w.raw("</div>\n")
	if f.summary != "" {
		c, err := newCode(f.summary)
		if err != nil {
			return err
		}
		w.raw("<figure>\n" + c.svg(qrSide))
		w.element("figcaption", "", codeWords)
		w.raw("</figure>\n")
	}
	w.raw("</div>\n</section>\n")
	return nil
}

const htmlStyle = `:root{color-scheme:light dark;--ink:#111;--pale:#555;--paper:#fff;--rule:#888;--good:#005f2d;--part:#8a4b00;--bad:#8c0a14}
@media (prefers-color-scheme:dark){:root{--ink:#eee;--pale:#aaa;--paper:#161616;--rule:#777;--good:#5fd08f;--part:#f0b060;--bad:#8c0a14}}
body{margin:0;font:15px/1.4 system-ui,sans-serif;color:var(--ink);background:var(--paper)}
main,footer{max-width:60rem;margin:0 auto;padding:1rem}
.band{margin:0;padding:.7rem;background:#000;color:#fff;text-align:center;font-size:1.2rem;border-bottom:4px dashed #fff}
h1{font-size:1.7rem;margin:.2rem 0}h2{font-size:1.05rem;margin:1rem 0 .2rem;border-bottom:1px solid var(--rule)}
h2 small,.intro,footer,figcaption,address small{color:var(--pale);font-weight:normal;font-size:.85rem}
address{float:right;max-width:16rem;text-align:right;font-style:normal;font-size:.85rem}address>*{display:block}address img{margin-left:auto;max-width:16rem;max-height:4rem}
.verdict{clear:both;display:flex;gap:1rem;align-items:center;padding:.7rem 1rem;border:4px solid var(--good)}
.verdict h2{border:0;margin:0;font-size:1.7rem}.verdict p{margin:.1rem 0}.sign{font-size:3rem;font-weight:bold;color:var(--good)}
.partly{border-style:dashed;border-color:var(--part)}.partly .sign{color:var(--part)}
.pretended{border-style:dotted;border-color:var(--ink)}.pretended .sign{color:var(--ink)}
.undone{border-color:var(--bad);background:var(--bad);color:#fff}.undone .sign{color:#fff}
.beside{display:grid;grid-template-columns:1fr 1fr;gap:0 2rem}.check{display:grid;grid-template-columns:1fr auto;gap:0 2rem}
@media (max-width:45rem){.beside,.check{display:block}}
table{border-collapse:collapse;width:100%}th,td{padding:.1rem .6rem .1rem 0;text-align:left;vertical-align:top;overflow-wrap:anywhere}
th[scope=row]{width:9rem;color:var(--pale);font-weight:normal}code{font-size:.9em;overflow-wrap:anywhere}ol{margin:.3rem 0;padding-left:1.3rem}
figure{margin:0;max-width:62mm}figure svg{max-width:100%;height:auto}
@media print{:root{--ink:#000;--pale:#444;--paper:#fff;--good:#005f2d;--part:#8a4b00;font-size:9pt}body{font-size:9pt}th[scope=row]{width:7rem}main,footer{max-width:none;padding:0}
.undone,.band{-webkit-print-color-adjust:exact;print-color-adjust:exact;border:4px double #000}section{break-inside:avoid}}
`
