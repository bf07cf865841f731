package page

import (
	"cmp"
	"fmt"
	"math"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// longestText is how many characters of what a drive or a person says are shown.
const longestText = 240

// text makes what a drive or a person says one that can only be read: what is not printed, or turns
// the direction of what is beside it, is shown by its number, and so is the cut of what is too long.
// (html/template escapes it.)
func text(s string) string {
	var b strings.Builder
	n := 0
	for _, r := range strings.ToValidUTF8(s, string(unicode.ReplacementChar)) {
		if n++; n > longestText {
			return fmt.Sprintf("%s… [cut: it has %d characters]", &b, utf8.RuneCountInString(s))
		}
		switch {
		case unicode.IsPrint(r):
			b.WriteRune(r)
		case r == '\n':
			b.WriteRune('¶')
		default:
			fmt.Fprintf(&b, "[U+%04X]", r)
		}
	}
	return b.String()
}

// size is a number of bytes in decimal units, as on the drive's label.
func size(n int64) string {
	units := []string{"B", "kB", "MB", "GB", "TB", "PB"}
	v, u := float64(n), 0
	for v >= 999.5 && u < len(units)-1 {
		v, u = v/1000, u+1
	}
	if u == 0 || v >= 99.95 {
		return fmt.Sprintf("%.0f %s", v, units[u])
	}
	return fmt.Sprintf("%.1f %s", v, units[u])
}

// duration is a time that is left, no finer than anybody can tell.
func duration(d time.Duration) string {
	switch {
	case d < time.Minute:
		return "under a minute"
	case d < time.Hour:
		return fmt.Sprintf("%d min", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h %02d min", int(d.Hours()), int(d.Minutes())%60)
	}
	return fmt.Sprintf("%d days", int(d.Hours()/24))
}

// moment is a time of RFC 3339 for people, in UTC.
func moment(s string) string {
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		return cmp.Or(s, "unknown")
	}
	return t.UTC().Format("2 Jan 2006, 15:04 UTC")
}

// percent is how much is done in tenths of a percent, rounded down: 100 is said of what is done.
func percent(done, total int64) float64 {
	if total <= 0 {
		return 0
	}
	return math.Floor(1000*float64(min(max(0, done), total))/float64(total)) / 10
}

// count is a number of things; the plural is made by s.
func count(n int, one string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %ss", n, one)
}

// natural orders nodes as people count them: sda, sdz, sdaa; nvme2n1 before nvme10n1.
func natural(a, b string) int {
	for a != "" && b != "" {
		x, y := run(a), run(b)
		if x != y {
			const letters = "/dev/sd" // which the kernel counts on in: z, aa
			switch {
			case digits(x) && digits(y):
				x, y = strings.TrimLeft(x, "0"), strings.TrimLeft(y, "0")
			case !strings.HasPrefix(x, letters) || !strings.HasPrefix(y, letters):
				return strings.Compare(a, b)
			}
			if c := cmp.Or(cmp.Compare(len(x), len(y)), strings.Compare(x, y)); c != 0 {
				return c
			}
			return strings.Compare(a, b)
		}
		a, b = a[len(x):], b[len(y):]
	}
	return cmp.Compare(len(a), len(b))
}

// run is the digits, or what is none, that a text begins with.
func run(s string) string {
	for i := range len(s) {
		if digits(s[i:i+1]) != digits(s[:1]) {
			return s[:i]
		}
	}
	return s
}

func digits(s string) bool { return s[0] >= '0' && s[0] <= '9' }
