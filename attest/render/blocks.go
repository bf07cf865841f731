package render

// fact is a row as it is drawn.
type fact struct {
	label string
	value []string // lines
	style style
}

const headLine = 5.6 // of a section's title

// facts breaks the rows of a section into lines of a column. A name is said once where it repeats.
func (s *sheet) facts(rows []row, labels, width float64) []fact {
	var list []fact
	last := ""
	for _, r := range rows {
		s.valueFont(r.style)
		f := fact{r.label, s.wrap(r.value, width-labels), r.style}
		if r.label == last {
			f.label = ""
		}
		last = r.label
		list = append(list, f)
	}
	return list
}

func (s *sheet) valueFont(as style) {
	switch as {
	case exact:
		s.font(mono, 7)
	case strong:
		s.font(bold, bodySize+0.4)
	default:
		s.font(regular, bodySize)
	}
}

func height(list []fact) float64 {
	lines := 0
	for _, f := range list {
		lines += len(f.value)
	}
	return headLine + float64(lines)*bodyLine + float64(len(list))*0.35
}

// heading draws the title of a section over a rule.
func (s *sheet) heading(x, y, width float64, title, note string) {
	s.font(bold, 9.2)
	s.pdf.Text(x, y+3.6, title)
	if note != "" {
		at := x + s.width(title) + 2
		s.font(regular, 7.2)
		s.ink(90, 90, 90)
		s.pdf.Text(at, y+3.6, "("+note+")")
		s.ink(0, 0, 0)
	}
	s.pdf.SetDrawColor(120, 120, 120)
	s.pdf.SetLineWidth(0.25)
	s.pdf.Line(x, y+4.7, x+width, y+4.7)
}

// draw puts one fact at a place and returns where the next one goes.
func (s *sheet) draw(f fact, x, y, labels float64) float64 {
	if f.label != "" {
		s.font(regular, bodySize-0.6)
		s.ink(90, 90, 90)
		s.pdf.Text(x, y+bodyLine*0.78, f.label)
		s.ink(0, 0, 0)
	}
	s.valueFont(f.style)
	for _, line := range f.value {
		s.pdf.Text(x+labels, y+bodyLine*0.78, line)
		y += bodyLine
	}
	return y + 0.35
}

// beside draws two sections in two columns, or one after the other where they do not fit.
func (s *sheet) beside(left, right section) {
	const gap, labels = 6.0, 22.0
	const column = (textWidth - gap) / 2
	a, b := s.facts(left.rows, labels, column), s.facts(right.rows, labels, column)
	if s.y+max(height(a), height(b)) > paperHeight-marginFoot {
		s.section(left)
		s.section(right)
		return
	}
	top, bottom := s.y, s.y
	for _, side := range []struct {
		x     float64
		head  section
		facts []fact
	}{{marginSide, left, a}, {marginSide + column + gap, right, b}} {
		s.heading(side.x, top, column, side.head.title, side.head.note)
		y := top + headLine
		for _, f := range side.facts {
			y = s.draw(f, side.x, y, labels)
		}
		bottom = max(bottom, y)
	}
	s.y = bottom + 2.2
}

// section draws one over the whole width. It flows over pages, fact by fact, and a long fact line by line.
func (s *sheet) section(part section) {
	const labels = 28.0
	list := s.facts(part.rows, labels, textWidth)
	s.room(headLine + 3*bodyLine)
	s.heading(marginSide, s.y, textWidth, part.title, part.note)
	s.y += headLine
	for _, f := range list {
		for len(f.value) > 0 {
			s.room(bodyLine)
			fits := max(1, int((paperHeight-marginFoot-s.y)/bodyLine))
			now := f
			now.value = f.value[:min(fits, len(f.value))]
			f.value, f.label = f.value[len(now.value):], ""
			s.y = s.draw(now, marginSide, s.y, labels)
		}
	}
	s.y += 2.2
}

// areas lists exceptions in two columns.
func (s *sheet) areas(a *areas) {
	const column = textWidth / 2
	s.room(headLine + 3*bodyLine)
	s.heading(marginSide, s.y, textWidth, a.title, a.more)
	s.y += headLine
	for i, e := range a.list {
		if i%2 == 0 && i > 0 {
			s.y += bodyLine
		}
		if i%2 == 0 {
			s.room(bodyLine)
		}
		where, what := a.line(e)
		s.font(regular, bodySize-0.4)
		s.pdf.Text(marginSide+float64(i%2)*column, s.y+bodyLine*0.78, where+": "+what)
	}
	s.y += bodyLine + 2.2
}

// check tells how to check the certificate, with the code at its side; both stay on one page.
func (s *sheet) check(part section, steps []step, c *code) {
	width, tall := textWidth, 0.0
	if c != nil {
		width, tall = textWidth-qrSide-4, qrSide+3
	}
	const labels, indent = 19.0, 5.0
	list := s.facts(part.rows, labels, width)
	text := height(list) + 2
	var lines [][2][]string
	for _, st := range steps {
		s.font(regular, bodySize)
		l := [2][]string{s.wrap(st.text, width-indent)}
		if st.command != "" {
			s.font(mono, bodySize-0.4)
			l[1] = s.wrap(st.command, width-indent)
		}
		lines = append(lines, l)
		text += float64(len(l[0])+len(l[1]))*bodyLine + 0.8
	}
	s.room(max(text, headLine+tall))
	s.heading(marginSide, s.y, textWidth, part.title, part.note)
	top := s.y + headLine
	y := top
	for i, l := range lines {
		s.font(regular, bodySize)
		s.pdf.Text(marginSide, y+bodyLine*0.78, string(rune('1'+i))+".")
		for _, line := range l[0] {
			s.pdf.Text(marginSide+indent, y+bodyLine*0.78, line)
			y += bodyLine
		}
		s.font(mono, bodySize-0.4)
		for _, line := range l[1] {
			s.pdf.Text(marginSide+indent, y+bodyLine*0.78, line)
			y += bodyLine
		}
		y += 0.8
	}
	y++
	for _, f := range list {
		y = s.draw(f, marginSide, y, labels)
	}
	if c != nil {
		y = max(y, s.code(c, paperWidth-marginSide-qrSide, top))
	}
	s.y = y
}

// code draws a QR code as rectangles, and says what it is.
func (s *sheet) code(c *code, x, y float64) float64 {
	module := float64(qrSide) / float64(c.size)
	const overlap = 0.02 // of rows, or the paper would shine through between them
	s.pdf.SetFillColor(255, 255, 255)
	s.pdf.Rect(x, y, qrSide, qrSide, "F")
	s.pdf.SetFillColor(0, 0, 0)
	for _, r := range c.runs {
		s.pdf.Rect(x+float64(r.x)*module, y+float64(r.y)*module, float64(r.length)*module, module+overlap, "F")
	}
	s.font(regular, 6.8)
	s.ink(90, 90, 90)
	words := codeWords
	s.pdf.Text(x+(qrSide-s.width(words))/2, y+qrSide+1.5, words)
	s.ink(0, 0, 0)
	return y + qrSide + 3
}
