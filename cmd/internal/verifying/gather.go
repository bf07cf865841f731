package verifying

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/expunge-dev/expunge/attest"
)

// The bounds of what is looked through.
const (
	maxDepth   = 32      // directories below the one that was named
	maxEntries = 1 << 20 // of one directory: their names are held, to be told in order
)

// certificateName is what certificates are called where they are issued: a file of that name is taken for one, whatever is in it.
const certificateName = "certificate.json"

// job is one thing to be told of: a certificate to judge, or what is known of it already.
type job struct {
	path  string
	line  int
	data  []byte // of standard input; nil: to be read from path
	found bool   // in a directory, where symbolic links are not followed
	maybe bool   // judged only when it resembles a certificate
	held  bool   // data is large, and one of few
	told  chan told
}

// told is one of both.
type told struct {
	item *Item
	skip *NotJudged
}

// gatherer finds what to judge. What it finds goes into the queue, in the order in which it is
// told, and to the workers, who answer in any order.
type gatherer struct {
	ctx         context.Context
	stdin       io.Reader
	stdinTaken  bool
	queue, work chan *job
	large       chan struct{}
	other       int // files that are not named *.json or *.pdf; to be read when the queue is closed
}

func (g *gatherer) gather(paths []string) {
	defer close(g.queue)
	defer close(g.work)
	for _, path := range paths {
		if g.ctx.Err() != nil {
			return
		}
		if path == "-" {
			g.standardInput()
			continue
		}
		info, err := os.Stat(path)
		switch {
		case err != nil:
			g.unreadable(path, err)
		case info.IsDir():
			g.directory(path, 0)
		default:
			g.judge(&job{path: path})
		}
	}
}

// next is the next thing to tell. It is not ok at the end, and when the context has ended.
func (g *gatherer) next() (told, bool) {
	select {
	case j, ok := <-g.queue:
		if !ok || g.ctx.Err() != nil {
			return told{}, false
		}
		select {
		case t := <-j.told:
			return t, true
		case <-g.ctx.Done():
		}
	case <-g.ctx.Done():
	}
	return told{}, false
}

// put queues a job and says whether it is still wanted.
func (g *gatherer) put(j *job) bool {
	select {
	case g.queue <- j:
		return true
	case <-g.ctx.Done():
		return false
	}
}

func (g *gatherer) judge(j *job) {
	j.told = make(chan told, 1)
	if g.put(j) {
		g.work <- j // a worker never waits for what is told
	}
}

func (g *gatherer) tell(t told) {
	j := &job{told: make(chan told, 1)}
	j.told <- t
	g.put(j)
}

func (g *gatherer) unreadable(path string, err error) {
	item := unreadable(path, 0, err)
	g.tell(told{item: &item})
}

func (g *gatherer) skip(path, code, message, hint string) {
	g.tell(told{skip: &NotJudged{path, []attest.Reason{{Code: code, Message: message, Hint: hint}}}})
}

// directory looks through a directory, by names, and those below it.
func (g *gatherer) directory(dir string, depth int) {
	if depth > maxDepth {
		g.unreadable(dir, fmt.Errorf("it is more than %d directories deep: name it by itself", maxDepth))
		return
	}
	entries, err := list(dir)
	if err != nil {
		g.unreadable(dir, err)
		return
	}
	for _, e := range entries {
		if g.ctx.Err() != nil {
			return
		}
		path := filepath.Join(dir, e.name)
		ext := filepath.Ext(e.name)
		mayBe := strings.EqualFold(ext, ".json") || strings.EqualFold(ext, ".pdf")
		switch {
		case e.kind.IsDir():
			g.directory(path, depth+1)
		case e.kind&fs.ModeSymlink != 0:
			g.skip(path, "symbolic_link", "a symbolic link: it is not followed", "name what it points to by itself")
		case !mayBe:
			g.other++
		case !e.kind.IsRegular() && e.name == certificateName:
			g.unreadable(path, fmt.Errorf("not a regular file but %v", e.kind))
		case !e.kind.IsRegular():
			g.skip(path, "not_a_file", fmt.Sprintf("not a regular file but %v", e.kind), "")
		default:
			g.judge(&job{path: path, found: true, maybe: e.name != certificateName})
		}
	}
}

type entry struct {
	name string
	kind fs.FileMode
}

// list reads a directory. One that holds too much is refused before it fills the memory.
func list(dir string) ([]entry, error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // read-only
	var entries []entry
	for {
		some, err := f.ReadDir(1024)
		for _, e := range some {
			entries = append(entries, entry{e.Name(), e.Type()})
		}
		switch {
		case len(entries) > maxEntries:
			return nil, fmt.Errorf("more than %d entries in one directory", maxEntries)
		case errors.Is(err, io.EOF):
			slices.SortFunc(entries, func(a, b entry) int { return strings.Compare(a.name, b.name) })
			return entries, nil
		case err != nil:
			return nil, err
		}
	}
}

// judge answers for one job. It waits for nobody.
func (j *job) judge(o Options) told {
	data := j.data
	if data == nil {
		var err error
		if data, err = read(j.path, j.found); err != nil {
			item := unreadable(j.path, j.line, err)
			return told{item: &item}
		}
	}
	if j.maybe && !attest.Resembles(data) && !isOurPage(data) {
		return told{skip: &NotJudged{j.path, []attest.Reason{{Code: "not_a_certificate", Message: "no certificate, nor what is left of one"}}}}
	}
	if attest.ResemblesSummary(data) {
		item := j.judgeSummary(o, data)
		return told{item: &item}
	}
	r := o.report(data)
	if o.MinCosigners > 0 {
		r = r.DemandCosigners(o.MinCosigners)
	}
	if o.AllowSimulated {
		r = r.AllowSimulated()
	}
	if r.IsRecord() && (o.Demands != nil || o.Also != nil || o.Check != nil) {
		r = r.Object([]attest.Reason{{Code: "record_only", Message: "a record cannot be held against what is asked of certificates", Hint: "verify it by itself"}})
	}
	if o.Demands != nil {
		r = r.Meet(*o.Demands)
	}
	if o.Also != nil && r.Result != nil {
		r = r.Object(o.Also(r))
	}
	if o.Check != nil && r.Result != nil {
		if against := o.Check(*r.Result); against != nil {
			r.Code, r.Reasons, r.Result = attest.CodeInvalid, []attest.Reason{*against}, nil
		}
	}
	item := Item{Path: j.path, File: j.path, Line: j.line, Verdict: r.Verdict(), Code: r.Code, ExitStatus: r.Code, Reasons: r.Reasons, result: r.Result, leaf: r.LogLeaf, origin: r.LogOrigin,
		Simulated: r.Simulated, Trust: Trust{r.Trust, r.KeyID, r.Simulated, r.LogIndex, r.LogSize}}
	if item.Reasons == nil {
		item.Reasons = []attest.Reason{}
	}
	if r.Code == attest.CodeInvalid && r.Result == nil {
		if s := strayed(data); s != nil {
			s.apply(&item)
		}
	}
	item.later(r)
	if r.Result != nil {
		d := r.Result.Device
		item.Outcome, item.Method, item.Time = r.Result.Outcome.Status, r.Result.Outcome.Method, r.Result.Time.Claimed
		item.Serial, item.Model = d.Serial, d.Model
		item.Drive = &Drive{d.DriveID(), d.Model, d.Serial, d.WWN, d.SizeBytes, r.Result.Scope}
	}
	return told{item: &item}
}

func unreadable(path string, line int, err error) Item {
	code := CodeIO
	if errors.Is(err, fs.ErrNotExist) {
		code = CodeNotFound
	}
	return Item{Path: path, File: path, Line: line, Verdict: "unreadable", Code: code, ExitStatus: code, Trust: Trust{Level: "untrusted"},
		Reasons: []attest.Reason{{Code: "unreadable", Message: plain(err).Error(), Hint: "give the path of a certificate.json that can be read"}}}
}

// read takes regular files only, and never more than one byte above what a certificate can have.
func read(path string, found bool) ([]byte, error) {
	stat := os.Stat
	if found {
		stat = os.Lstat
	}
	info, err := stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("not a regular file but %v", info.Mode().Type())
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // read-only
	if opened, err := f.Stat(); err != nil || !os.SameFile(info, opened) {
		return nil, errors.Join(errors.New("it was exchanged for another while it was opened"), err)
	}
	return readAll(f, info.Size())
}

// readAll reads as much as a document can have, and one byte more; of a page, as much as that can have. size is what
// there probably is.
func readAll(in io.Reader, size int64) ([]byte, error) {
	var b bytes.Buffer
	b.Grow(int(min(size, attest.MaxSize)) + bytes.MinRead)
	_, err := b.ReadFrom(io.LimitReader(in, attest.MaxSize+1))
	if err == nil && b.Len() > attest.MaxSize && bytes.HasPrefix(b.Bytes(), []byte("%PDF-")) {
		_, err = b.ReadFrom(io.LimitReader(in, attest.MaxPDF-attest.MaxSize))
	}
	return b.Bytes(), err
}

// plain drops the path, which the line has already.
func plain(err error) error {
	var path *fs.PathError
	if errors.As(err, &path) {
		return path.Err
	}
	return err
}
