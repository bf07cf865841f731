package virtual

import (
	"cmp"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/expunge-dev/expunge/devices"
	"github.com/expunge-dev/expunge/internal/durable"
	"github.com/expunge-dev/expunge/internal/strict"
)

// Rack is a virtual host in a directory.
type Rack struct {
	dir  string
	id   string
	mu   sync.Mutex        // guards live
	live map[string]*drive // by kernel name: drives that this process has opened

	// Clock is the time by which drives work by themselves; nil is time.Now.
	Clock func() time.Time
}

// record is rack.json.
type record struct {
	Schema  string    `json:"schema"`
	ID      string    `json:"id"`
	Created time.Time `json:"created"`
}

const (
	rackSchema = "expunge/rack/v1"
	rackFile   = "rack.json"
)

// ErrNotRack: the directory is no rack. rack create makes one.
var ErrNotRack = errors.New("not a rack")

// fullError names a directory that is not empty; it is fs.ErrExist.
type fullError string

func (e fullError) Error() string {
	return "create rack in " + string(e) + ": the directory is not empty"
}
func (fullError) Unwrap() error { return fs.ErrExist }

// Create makes an empty rack in a directory that is empty or not there. The error is fs.ErrExist
// when there is something in it.
func Create(dir string) (*Rack, error) {
	if err := durable.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("create rack: %w", err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("create rack: %w", err)
	}
	if len(entries) > 0 {
		return nil, fullError(dir)
	}
	id := make([]byte, 16)
	rand.Read(id)
	r := &Rack{dir: dir, id: hex.EncodeToString(id), live: map[string]*drive{}}
	if err := r.layHost(); err != nil {
		return nil, fmt.Errorf("create rack: %w", err)
	}
	data, err := json.Marshal(record{rackSchema, r.id, time.Now().UTC().Truncate(time.Second)})
	if err != nil {
		return nil, fmt.Errorf("create rack: %w", err)
	}
	// Last, so that a directory with this file is a whole rack.
	return r, durable.CreateFile(filepath.Join(dir, rackFile), append(data, '\n'), 0o644)
}

// Open opens a rack. The error is ErrNotRack when it is none.
func Open(dir string) (*Rack, error) {
	data, err := os.ReadFile(filepath.Join(dir, rackFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("open rack %s: %w: it has no %s", dir, ErrNotRack, rackFile)
	}
	if err != nil {
		return nil, fmt.Errorf("open rack: %w", err)
	}
	var rec record
	if err := strict.Decode(data, &rec); err != nil || rec.Schema != rackSchema || len(rec.ID) != 32 {
		return nil, fmt.Errorf("open rack %s: %w: %s is damaged or of another version", dir, ErrNotRack, rackFile)
	}
	return &Rack{dir: dir, id: rec.ID, live: map[string]*drive{}}, nil
}

// ID tells racks apart.
func (r *Rack) ID() string { return r.id }

// Root is the directory that stands for "/".
func (r *Rack) Root() string { return r.dir }

// Host is the rack as a host. log may be nil.
func (r *Rack) Host(log hclog.Logger) *devices.Host { return devices.NewHost(r.dir, r.Opener(), log) }

// Info is a drive as its rack keeps it.
type Info struct {
	Name   string   `json:"name"`  // kernel name: vda, sda, nvme0
	Index  int      `json:"index"` // among those of its kind
	Node   string   `json:"node"`  // of the first space
	Spaces []Space  `json:"spaces"`
	Spec   Spec     `json:"spec"`
	Faults []Fault  `json:"faults,omitempty"`
	Uses   []string `json:"uses,omitempty"`
	// Sequence counts insertions of the drive, as a kernel's diskseq does.
	Sequence uint64 `json:"sequence"`
	Gone     bool   `json:"gone,omitempty"`
	// Shelf numbers the enclosures of a rack, from 1; 0 for a drive that is in none.
	Shelf int `json:"shelf,omitempty"`
}

// Drives lists the rack's drives, also those that were pulled.
func (r *Rack) Drives() ([]Info, error) {
	files, err := filepath.Glob(filepath.Join(r.dir, "state", "*.json"))
	if err != nil {
		return nil, err
	}
	list := make([]Info, 0, len(files))
	for _, f := range files {
		info, err := readInfo(f)
		if err != nil {
			return nil, err
		}
		list = append(list, info)
	}
	slices.SortFunc(list, func(a, b Info) int {
		return cmp.Or(int(a.Sequence)-int(b.Sequence), strings.Compare(a.Name, b.Name))
	})
	return list, nil
}

func readInfo(file string) (Info, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return Info{}, fmt.Errorf("read virtual drive: %w", err)
	}
	return decodeInfo(file, data)
}

func decodeInfo(name string, text []byte) (Info, error) {
	var info Info
	if err := strict.Decode(text, &info); err != nil {
		return Info{}, fmt.Errorf("read virtual drive %s: %w", name, err)
	}
	return info, nil
}

func (r *Rack) stateFile(name string) string { return filepath.Join(r.dir, "state", name+".json") }
func (r *Rack) image(name string) string     { return filepath.Join(r.dir, "media", name+".img") }

func (r *Rack) save(info Info) error {
	data, err := json.MarshalIndent(info, "", "  ")
	if err != nil {
		return err
	}
	return durable.WriteFile(r.stateFile(info.Name), append(data, '\n'), 0o644)
}

// find is the drive of a serial number, kernel name or node.
func (r *Rack) find(name string) (Info, error) {
	list, err := r.Drives()
	if err != nil {
		return Info{}, err
	}
	var found []Info
	for _, i := range list {
		if i.Spec.Serial == name || i.Name == name || slices.ContainsFunc(i.Spaces, func(s Space) bool { return s.Node == name && name != "" }) {
			found = append(found, i)
		}
	}
	switch len(found) {
	case 0:
		return Info{}, fmt.Errorf("%q: %w", name, devices.ErrNotFound)
	case 1:
		return found[0], nil
	}
	return Info{}, fmt.Errorf("%q: %w", name, devices.ErrAmbiguous)
}

// Add puts a drive into the rack and returns its node.
func (r *Rack) Add(spec Spec) (node string, err error) {
	spec, err = spec.normal()
	if err != nil {
		return "", fmt.Errorf("add drive: %w", err)
	}
	list, err := r.Drives()
	if err != nil {
		return "", err
	}
	profile, err := profileByName(spec.Profile)
	if err != nil {
		return "", err
	}
	taken := func(serial string) bool {
		return slices.ContainsFunc(list, func(i Info) bool { return i.Spec.Serial == serial })
	}
	for spec.Serial == "" || !spec.SameSerial && taken(spec.Serial) {
		if spec.Serial != "" {
			return "", fmt.Errorf("add drive: serial %s is another drive's", spec.Serial)
		}
		n, err := rand.Int(rand.Reader, big.NewInt(1e10))
		if err != nil {
			return "", err
		}
		if drawn := profile.ownSerial(fmt.Sprintf("VIRT%010d", n)); !taken(drawn) {
			spec.Serial = drawn
		}
	}
	index := 0
	for _, i := range list {
		if other, err := profileByName(i.Spec.Profile); err == nil && other.kernelName(0) == profile.kernelName(0) {
			index = max(index, i.Index+other.names())
		}
	}
	name := profile.kernelName(index)
	info := Info{Name: name, Index: index, Spec: spec, Spaces: profile.spaces(name, index, spec), Sequence: uint64(len(list)) + 1}
	info.Node = info.Spaces[0].Node
	if err := info.seat(list); err != nil {
		return "", fmt.Errorf("add drive: %w", err)
	}
	if err := r.layDrive(info, profile); err != nil {
		return "", fmt.Errorf("add drive %s: %w", name, err)
	}
	return info.Node, r.save(info)
}

// Fault makes something go wrong with a drive from its next opening on.
func (r *Rack) Fault(name string, f Fault) error {
	info, err := r.find(name)
	if err != nil {
		return err
	}
	if _, err := ParseFault(f.String()); err != nil {
		return err
	}
	blocks := info.addressable() / int64(info.Spec.LogicalBlock)
	if form, _ := formOf(f.Kind); form.extent && (f.Block >= blocks || f.Kind == SkipErase && f.Block+f.Count > blocks) {
		return fmt.Errorf("fault %s: the drive has %d blocks", f, blocks)
	}
	profile, err := profileByName(info.Spec.Profile)
	if err != nil {
		return err
	}
	if why := profile.lacks(f); why != "" {
		return fmt.Errorf("fault %s: a drive of profile %s %s", f, profile.Name, why)
	}
	info.Faults = append(info.Faults, f)
	return r.save(info)
}

// ClearFaults makes a drive whole again, and puts it back when it was pulled.
func (r *Rack) ClearFaults(name string) error {
	info, err := r.find(name)
	if err != nil {
		return err
	}
	info.Faults = nil
	if info.Gone {
		info.Gone = false
		info.Sequence += 100
		if err := r.plug(info); err != nil {
			return err
		}
	}
	return r.save(info)
}

// dropFaults takes the faults of a kind away: what has happened does not happen again.
func (r *Rack) dropFaults(name, kind string) error {
	info, err := readInfo(r.stateFile(name))
	if err != nil {
		return err
	}
	info.Faults = slices.DeleteFunc(info.Faults, func(f Fault) bool { return f.Kind == kind })
	return r.save(info)
}
