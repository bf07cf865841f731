package page

import (
	"errors"
	"html"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/expunge-dev/expunge/agent/api"
	"github.com/expunge-dev/expunge/devices"
	"github.com/expunge-dev/expunge/sanitize"
)

var (
	tag     = regexp.MustCompile(`<[^>]*>`)
	row     = regexp.MustCompile(`(?s)<tr role="row">(<th role="rowheader".*?)</tr>`)
	cell    = regexp.MustCompile(`(?s)<t[hd][^>]*>(.*?)</t[hd]>`)
	value   = regexp.MustCompile(` (href|aria-label|value|class)="[^"]*"`)
	section = regexp.MustCompile(`(?s)<section id="([a-z]+)".*?</section>`)
)

// rows are the cells of all rows of a section, as text.
func rows(t *testing.T, page, name string) [][]string {
	t.Helper()
	for _, s := range section.FindAllStringSubmatch(page, -1) {
		if s[1] != name {
			continue
		}
		var list [][]string
		for _, r := range row.FindAllStringSubmatch(s[0], -1) {
			var cells []string
			for _, c := range cell.FindAllStringSubmatch(r[1], -1) {
				cells = append(cells, strings.TrimSpace(html.UnescapeString(tag.ReplaceAllString(strings.NewReplacer("<br>", " / ", "</p><p>", " / ").Replace(c[1]), ""))))
			}
			list = append(list, cells)
		}
		return list
	}
	t.Fatalf("there is no section %s", name)
	return nil
}

// words are the page without its elements.
func words(page string) string { return html.UnescapeString(tag.ReplaceAllString(page, "")) }

func says(t *testing.T, page string, all ...string) {
	t.Helper()
	for _, s := range all {
		if !strings.Contains(words(page), s) {
			t.Errorf("the page does not say %q", s)
		}
	}
}

// What needs somebody stands first, with the outcome in the Service's words, why, and what to do.
func TestTroubleComesFirst(t *testing.T) {
	page := get(t, workshop(), "/").Body.String()
	if a, b, c := strings.Index(page, `id="trouble"`), strings.Index(page, `id="running"`), strings.Index(page, `id="drives"`); a < 0 || a > b || b > c {
		t.Errorf("sections are at %d, %d, %d", a, b, c)
	}
	got := rows(t, page, "trouble")
	want := [][2]string{ // outcome, and what is said of it
		{"PROBLEM", "see whether the cosigner can be reached"},
		{"UNREADABLE - treat its drives as holding data", "unexpected end of JSON input"},
		{"UNPROVEN - holds data", "3 of 2000 blocks"},
		{"UNKNOWN - treat as holding data", "the drive's status was all zero"},
		{"FAILED - holds data", "destroy the drive by other means"},
		{"INVALID - proves nothing", "keep the file"},
		{"CLEARED status only, without a certificate", "no space left on device"},
		{"INTERRUPTED - holds data, resumable", "put it back: expunge recover"},
		{"POWER CYCLE NEEDED - holds data, resumable", "take it out and put it back"},
		{"CLEARED verified, but for 4096 bytes", "could not be written"},
		{"FAILED - holds data", "Since then a job that was planned later says: PURGED verified (1111111111111111)"},
	}
	if len(got) != len(want) {
		t.Fatalf("%d rows: %q", len(got), got)
	}
	for i, w := range want {
		if !slices.ContainsFunc(got, func(r []string) bool { return r[1] == w[0] && strings.Contains(r[3], w[1]) }) {
			t.Errorf("nothing says %q: %s", w[0], w[1])
		}
		if i < 7 && got[i][1] != w[0] || i == len(want)-1 && !strings.Contains(got[i][3], "Since then") {
			t.Errorf("row %d is %q", i, got[i])
		}
	}
	says(t, page, "Needs somebody (10)")
}

func TestRunningDrives(t *testing.T) {
	page := get(t, workshop(), "/").Body.String()
	want := [][]string{
		{"RUNNING2 / ST4000NM0035-1V4107 / job 0123456789abcdef", "/dev/sdg", "verify", "99.9 %", "667 MB/s", "under a minute", "38 °C", "8.2 kB BAD"},
		{"RUNNING4 / ST4000NM0035-1V4107 / job 0123456789abcdef", "/dev/sdh", "pass 2/3", "0.0 %", "not known yet", "not known yet", "66 °C (limit 60), paused: too warm", "none"},
		{"RUNNING3 / ST4000NM0035-1V4107 / job 0123456789abcdef", "/dev/nvme20n1", "block erase", "45.7 %", "by the drive itself", "the drive does not say", "not told", "none"},
		{"RUNNING1 / ST4000NM0035-1V4107 / job 0123456789abcdef", "enclosure 0, slot 8 / /dev/sdf", "pass 1/1", "25.0 %", "200 MB/s", "4 h 10 min", "41 °C (limit 60)", "none"},
		{"RUNNING5 / ST4000NM0035-1V4107 / job 0123456789abcdef", "/dev/sdi", "starting", "not known yet", "not known yet", "not known yet", "not told", "none"},
	}
	got := rows(t, page, "running")
	for i, w := range want {
		if i >= len(got) || !slices.Equal(got[i], w) {
			t.Fatalf("got  %q\nwant %q", got, want)
		}
	}
	if len(got) != len(want) || !strings.Contains(page, `<progress max="100" value="25" aria-label="done of pass 1/1">`) {
		t.Errorf("%d rows", len(got))
	}
	says(t, page, "They hold data until they have ended", "NO - do not power off", "5 drives are worked on", "5 drives of 2 jobs", "refreshed every 15 seconds")
}

// A drive is at work only where its job is: one that was pulled while others go on needs somebody.
func TestWhatIsNotAtWorkIsNotRunning(t *testing.T) {
	s := workshop()
	s.jobs[0].Drives[0].Progress, s.jobs[0].Drives[0].Reasons = nil, []devices.Reason{{Code: "gone", Message: "it was pulled"}}
	s.jobs[0].Drives[1].Outcome, s.jobs[0].Drives[1].Words = sanitize.Failed, "FAILED - holds data"
	s.jobs = append(s.jobs, s.jobs[0])
	s.jobs[len(s.jobs)-1].State = api.JobStopped
	page := get(t, s, "/").Body.String()
	for _, r := range rows(t, page, "running") {
		if strings.Contains(r[0], "RUNNING1") || strings.Contains(r[0], "RUNNING2") {
			t.Errorf("it runs: %q", r)
		}
	}
	if got := len(rows(t, page, "running")); got != 3 {
		t.Errorf("%d run", got)
	}
	says(t, page, "it was pulled")
}

func TestDrivesAndCertificates(t *testing.T) {
	page := get(t, workshop(), "/").Body.String()
	got := rows(t, page, "drives")
	want := [][]string{
		{"no serial number", "unreadable", "unknown", "-", "/dev/sde", "IDENTIFY was not answered within 10 s / see dmesg"},
		{"FROZEN9 / KINGSTON SEDC500", "blocked", "3.8 TB", "enclosure 0, slot 8", "/dev/sdd", "ATA security is frozen / power-cycle the slot, then: expunge list"},
		{"INUSE77 / ST4000NM0035-1V4107", "in use", "3.8 TB", "-", "/dev/sdb", "md0 holds /dev/sdb1 / stop it with: mdadm --stop /dev/md0"},
		{"RUNNING1 / ST4000NM0035-1V4107", "in use", "3.8 TB", "enclosure 0, slot 8", "/dev/sdf", "this agent is at work on it"},
		{"SYSTEM1 / INTEL SSDSC2KB480G8", "system", "3.8 TB", "-", "/dev/sda", "/dev/sda2 is mounted at /"},
		{"READY10 / INTEL SSDSC2KB480G8", "ready", "3.8 TB", "-", "/dev/sdc", "-"},
		{"megaraid_sas at 0000:03:00.0", "0000:03:00.0", "its members are not shown / set the controller to JBOD"},
	}
	for i, w := range want {
		if len(got) != len(want) || !slices.Equal(got[i], w) {
			t.Fatalf("got  %q\nwant %q", got, want)
		}
	}
	certificates := rows(t, page, "certificates")
	var outcomes []string
	for _, r := range certificates {
		outcomes = append(outcomes, r[1])
	}
	if !slices.Equal(outcomes, []string{"INVALID - proves nothing", "UNKNOWN - treat as holding data", "CLEARED verified, but for 4096 bytes", "FAILED - holds data", "PURGED verified"}) {
		t.Errorf("%q", outcomes)
	}
	if !strings.Contains(page, `href="/v1/certificates/0123456789abcdef/`+string(id(6))+`"`) {
		t.Error("no link to a certificate")
	}
	if plain := get(t, quiet(), "/").Body.String(); strings.Contains(plain, ">Slot<") {
		t.Error("a host without slots has a column of them")
	}
}

// A certificate's word stands where a job says otherwise: the signature is of the certificate.
func TestACertificateIsNotRewordedByAJob(t *testing.T) {
	s := workshop()
	s.certificates[1].Outcome = "unproven"
	s.jobs[1].Drives[0].Outcome, s.jobs[1].Drives[0].Words = sanitize.Sanitized, "PURGED verified"
	for _, r := range rows(t, get(t, s, "/").Body.String(), "certificates") {
		if strings.Contains(r[0], "ENDED11") && r[1] != "unproven" {
			t.Errorf("%q", r)
		}
	}
}

func TestAllIsWell(t *testing.T) {
	w := get(t, quiet(), "/")
	page := w.Body.String()
	says(t, page, "Nothing.", "No drive is worked on.", "The agent keeps no certificate.", "every 60 seconds")
	if strings.Contains(page, "SIMULATED") || len(rows(t, page, "trouble")) != 0 || !strings.Contains(page, `<span class="good">yes</span>`) || w.Header().Get("Refresh") != "60" {
		t.Error(page)
	}
	still := get(t, quiet(), "/?refresh=off")
	if still.Header().Get("Refresh") != "" {
		t.Error("it is refreshed")
	}
	says(t, still.Body.String(), "The page is not refreshed")
}

func TestSimulatedAndHalted(t *testing.T) {
	s := quiet()
	s.health.Simulated, s.health.Halted, s.health.Status = true, true, "halted"
	page := get(t, s, "/").Body.String()
	says(t, page, "SIMULATED - the drives of this host are virtual", "HALTED - nothing destructive is begun")
	if !strings.Contains(page, "<title>SIMULATED - expunge agent</title>") {
		t.Error("the title does not say it")
	}
}

// What contradicts itself is not safe, and a state that nobody has a word for is not well.
func TestDoubtIsNoSuccess(t *testing.T) {
	s := quiet()
	s.health.PowerOff = []devices.Reason{{Message: "a journal is not on stable media"}}
	says(t, get(t, s, "/").Body.String(), "NO - do not power off", "a journal is not on stable media")

	s = quiet()
	s.health.Status = "splendid"
	if page := get(t, s, "/").Body.String(); !strings.Contains(page, `<span class="bad">splendid</span>`) {
		t.Error("an unknown status is shown as good")
	}
	s = quiet()
	s.jobs[0].Drives[0].Outcome, s.jobs[0].Drives[0].Words = "brand new", ""
	says(t, get(t, s, "/").Body.String(), "UNKNOWN - treat as holding data")
	s = quiet()
	s.drives.Items[0].State = "splendid"
	if got := rows(t, get(t, s, "/").Body.String(), "drives"); got[0][1] != "splendid" || !strings.Contains(get(t, s, "/").Body.String(), `class="bad">splendid`) {
		t.Errorf("%q", got)
	}
	s = quiet()
	s.jobs[0].Drives[0].Certificate = nil
	says(t, get(t, s, "/").Body.String(), "PURGED verified, without a certificate", "expunge certificate reissue")
}

// A part that could not be read says so, and the others are there.
func TestWhatCannotBeReadIsUnknown(t *testing.T) {
	for part, sentence := range map[string]string{
		"health": "the state of the agent could not be read", "drives": "the drives of the host could not be read", "jobs": "what became of drives could not be read", "certificates": "certificates could not be read",
	} {
		s := quiet()
		s.errs[part] = errors.New("the roof is on fire")
		w := get(t, s, "/")
		page := w.Body.String()
		says(t, page, "UNKNOWN - "+sentence+": the roof is on fire")
		if w.Code != http.StatusOK || part != "drives" && strings.Contains(page, "Nothing.") || part == "jobs" && (strings.Contains(page, "No drive is worked on")) || part == "drives" && strings.Contains(page, "has no drive") ||
			part == "certificates" && strings.Contains(page, "keeps no certificate") || part == "health" && !strings.Contains(words(page), "UNKNOWN - do not power off") {
			t.Errorf("%s: %d\n%s", part, w.Code, words(page))
		}
	}
	s := quiet()
	for _, part := range []string{"health", "drives", "jobs", "certificates"} {
		s.errs[part] = errNoRead
	}
	w := get(t, s, "/")
	if w.Code != http.StatusForbidden {
		t.Errorf("%d", w.Code)
	}
	says(t, w.Body.String(), "uid:1000 may not read")
}

// A listing that hangs costs its section, and not a goroutine for each who asks.
func TestADriveThatHangsDoesNotHoldThePage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := workshop()
		s.hang = make(chan struct{})
		h := handlerOf(s)
		for i := range looks + 3 {
			w := httptest.NewRecorder()
			begun := time.Now()
			h.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), "GET", "/", nil))
			page := w.Body.String()
			if len(rows(t, page, "running")) != 5 || time.Since(begun) != patience || s.hung.Load() != int64(min(i+1, looks)) {
				t.Errorf("look %d took %v; the service was asked %d times", i, time.Since(begun), s.hung.Load())
			}
			why := "no answer within 10s"
			if i >= looks {
				why = "it has not answered 4 others who asked, within 10s"
			}
			says(t, page, "UNKNOWN - the drives of the host could not be read: "+why)
		}
		close(s.hang)
	})
}

// What a user would lose: belief in a page that calls everything unknown because others looked at it in the same moment.
func TestManyLookAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := workshop()
		s.hang = make(chan struct{})
		h := handlerOf(s)
		pages := make(chan string)
		for range 3*looks + 1 {
			go func() {
				w := httptest.NewRecorder()
				h.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), "GET", "/", nil))
				pages <- w.Body.String()
			}()
		}
		synctest.Wait()
		if n := s.hung.Load(); n != looks {
			t.Errorf("the service is asked %d times at once", n)
		}
		close(s.hang)
		for range 3*looks + 1 {
			if page := <-pages; strings.Contains(words(page), "could not be read") || len(rows(t, page, "drives")) != 7 {
				t.Error(words(page))
			}
		}
	})
}

func TestTheServiceIsToldWhoAsks(t *testing.T) {
	s := quiet()
	s.asked = make(chan api.Principal, 1)
	r := httptest.NewRequestWithContext(api.WithPrincipal(t.Context(), api.Principal{Name: "uid:1000"}), "GET", "/", nil)
	New(s).ServeHTTP(httptest.NewRecorder(), r)
	if p := <-s.asked; p.Name != "uid:1000" {
		t.Errorf("%q", p.Name)
	}
}

func TestHeadersAndPaths(t *testing.T) {
	for path, want := range map[string]struct {
		code int
		kind string
	}{"/": {200, "text/html; charset=utf-8"}, "/style.css": {200, "text/css; charset=utf-8"}, "/icon.svg": {200, "image/svg+xml"}, "/page.html": {404, ""}, "/assets/page.html": {404, ""}, "/v1/drives": {404, ""}} {
		if has := New(quiet()).Has(path); has != (want.code == 200) {
			t.Errorf("the page has %s: %v", path, has)
		}
		w := get(t, quiet(), path)
		h := w.Header()
		if w.Code != want.code || want.kind != "" && h.Get("Content-Type") != want.kind {
			t.Errorf("%s: %d %s", path, w.Code, h.Get("Content-Type"))
		}
		if h.Get("Content-Security-Policy") != policy || h.Get("Cache-Control") != "no-store" || h.Get("X-Content-Type-Options") != "nosniff" || h.Get("Referrer-Policy") != "no-referrer" {
			t.Errorf("%s: %v", path, h)
		}
	}
	w := httptest.NewRecorder()
	handlerOf(quiet()).ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), "POST", "/", nil))
	if w.Code != http.StatusMethodNotAllowed {
		t.Errorf("POST is answered by %d", w.Code)
	}
	err := fs.WalkDir(assets, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := assets.ReadFile(path)
		for _, not := range []string{"<script", "https://", "@import", "url(", " style=", "<style", " on"} {
			if strings.Contains(string(data), not) && !(not == " on" && !regexp.MustCompile(` on[a-z]+=`).Match(data)) {
				t.Errorf("%s has %s", path, not)
			}
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

// Whatever a drive or a person says, it becomes text that can be seen.
func TestHostileWordsAreText(t *testing.T) {
	page := get(t, hostile(), "/").Body.String()
	elements := func(page string) string {
		return strings.Join(tag.FindAllString(value.ReplaceAllString(page, ""), -1), "")
	}
	all := elements(page)
	for _, word := range hostileWords {
		saved := hostileWords
		hostileWords = slices.Repeat([]string{word}, len(saved))
		one := hostile()
		hostileWords = slices.Repeat([]string{"plain"}, len(saved))
		plain := hostile()
		hostileWords = saved
		if a, b := elements(get(t, one, "/").Body.String()), elements(get(t, plain, "/").Body.String()); a != b {
			t.Errorf("%.40q changed the elements", word)
		}
	}
	if strings.Contains(all, "script") || strings.Contains(all, "img") {
		t.Error("there are elements that are not ours")
	}
	for _, r := range page {
		if r != '\n' && (r < ' ' || r >= 0x200b && r <= 0x200f || r >= 0x202a && r <= 0x202e || r >= 0x2060 && r <= 0x206f || r >= 0x7f && r < 0xa0) {
			t.Fatalf("the page has U+%04X", r)
		}
	}
	says(t, page, `<script>document.title="owned"</script>`, "[U+202E]DEIFIREV DEGRUP[U+202C]", "[cut: it has 10000 characters]", "[U+0000][U+001B][2J", "שלום")
	if strings.Contains(words(page), strings.Repeat("S", longestText+1)) {
		t.Error("10,000 characters are shown")
	}
	for _, link := range regexp.MustCompile(`href="([^"]*)"`).FindAllStringSubmatch(page, -1) {
		if l := link[1]; l[0] != '#' && l != "/" && l != "/?refresh=off" && l != "/style.css" && l != "/icon.svg" && (!strings.HasPrefix(l, "/v1/certificates/") || strings.Count(l, "/") != 4 || strings.ContainsAny(l, "?#\\ ") || strings.Contains(l, "..%2F") && strings.Contains(l, "/../")) {
			t.Errorf("a link leads to %.120s", l)
		}
	}
}

// A station of 200 drives: whatever needs somebody is at the top of each table.
func TestTwoHundredDrives(t *testing.T) {
	page := get(t, station(), "/").Body.String()
	drives, running := rows(t, page, "drives"), rows(t, page, "running")
	if len(drives) != 200 || len(running) != 150 {
		t.Fatalf("%d and %d rows", len(drives), len(running))
	}
	var order []string
	for _, r := range drives[:6] {
		order = append(order, r[len(r)-2])
	}
	if !slices.Equal(order, []string{"/dev/nvme49n1", "/dev/nvme99n1", "/dev/nvme149n1", "/dev/nvme199n1", "/dev/nvme0n1", "/dev/nvme1n1"}) {
		t.Errorf("%q", order)
	}
	if running[0][7] != "4.1 kB BAD" || running[1][1] != "/dev/nvme0n1" || running[150-1][1] != "/dev/nvme149n1" {
		t.Errorf("%q %q", running[0], running[149])
	}
	if len(page) > 400_000 {
		t.Errorf("the page has %d bytes", len(page))
	}
}

// Long lists are cut, and say so.
func TestLongListsSayWhatIsNotShown(t *testing.T) {
	s := workshop()
	for i := range longestList + 7 {
		d := s.jobs[1].Drives[0]
		d.ID = id(1000 + i)
		s.jobs[1].Drives = append(s.jobs[1].Drives, d)
		c := s.certificates[0]
		c.ID = d.ID
		s.certificates = append(s.certificates, c)
	}
	page := get(t, s, "/").Body.String()
	says(t, page, "18 more are not shown", "12 older ones are not shown", "Needs somebody (517)")
	if n := len(rows(t, page, "trouble")); n != longestList {
		t.Errorf("%d rows", n)
	}
}

func TestNaturalOrder(t *testing.T) {
	want := []string{"", "/dev/nvme2n1", "/dev/nvme2n10", "/dev/nvme10n1", "/dev/sda", "/dev/sdb", "/dev/sdz", "/dev/sdaa", "bay 007", "bay 8"}
	got := slices.Clone(want)
	slices.Reverse(got)
	slices.SortStableFunc(got, natural)
	if !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
}

// Only a later success says anything about an older failure: neither a later failure, nor an earlier success.
func TestAnOldFailureIsOnlyMarkedByALaterSuccess(t *testing.T) {
	failed := workshop()
	failed.jobs[2].Drives[0].Outcome, failed.jobs[2].Drives[0].Words = sanitize.Failed, "FAILED - holds data"
	uncertified := workshop()
	uncertified.jobs[2].Drives[0].Certificate = nil
	earlier := workshop()
	earlier.jobs[2].Created = "2026-11-27T08:00:00Z"
	for i, s := range []*scripted{failed, uncertified, earlier} {
		if page := words(get(t, s, "/").Body.String()); strings.Contains(page, "Since then") {
			t.Errorf("%d: a failure is said to be made good", i)
		}
	}
}

// A drive that can be chosen and was left with data by its latest job is not shown as if it were new.
func TestWhatAJobLeftStandsBesideTheDrive(t *testing.T) {
	s := workshop()
	s.drives.Items = api.Beside(s.drives.Items, []api.Job{{ID: "fedcba9876543210", State: api.JobEnded, Drives: []api.JobDrive{{ID: id(101), Outcome: sanitize.Failed, Words: "FAILED - holds data"}}}})
	for _, r := range rows(t, get(t, s, "/").Body.String(), "drives") {
		if note := r[len(r)-1]; strings.HasPrefix(r[0], "READY10") && note != "job fedcba9876543210 left it FAILED - holds data" {
			t.Errorf("%q", note)
		}
	}
}
