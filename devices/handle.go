package devices

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"path/filepath"
	"slices"

	"github.com/expunge-dev/expunge/devices/blockio"
)

// Handle is a drive that this process holds exclusively, with every node it has. Each node was
// checked to be the drive's that was meant, and Reidentify checks it again.
type Handle struct {
	host   *Host
	drive  Drive
	spaces []Space
	paths  []Space // the nodes of drive.Paths, in that order
	watch  *watch
}

// Resets is how often the drive told of a reset or a loss of power since it was opened.
func (h *Handle) Resets() int64 { return h.watch.resets.Load() }

// Space is a range of a drive's blocks that has a node of its own: a namespace, a logical unit, or
// all of a drive that has neither.
type Space struct {
	Node string
	NSID uint32 // 0 where there are no namespaces
	LUN  uint64 // 0 where there are no logical units
	Geometry
	Zoned     bool
	transport Transport
	zones     *ZoneReport // of one that is Compact
}

// Queue opens a queue of block I/O on the space.
func (s Space) Queue(depth int) (blockio.Queue, error) {
	if s.zones != nil {
		return s.zoneQueue(depth)
	}
	return s.transport.Queue(depth)
}

// OpenOptions say what an open may overlook.
type OpenOptions struct {
	AllowFabric bool // the person said that storage reached over a fabric is theirs
	// Ours opens a drive that is erasing itself, or is locked: the caller knows that it brought that about.
	Ours bool
	// Keys opens a self-encrypting drive that is locked: the caller destroys its keys.
	Keys bool
}

// Inspect opens a drive for reading and returns what the open nodes say of its size, and the
// digest of its partition tables, "" for a drive whose blocks cannot be read because its sanitize
// failed or because it is locked. It is for planning; nothing is claimed. The error is ErrPathsDiffer when its paths do not
// show the same.
func (h *Host) Inspect(ctx context.Context, d Drive) (inspected Drive, partitionTable string, err error) {
	spaces, paths, err := h.openSpaces(ctx, d, ReadOnly, &watch{})
	defer func() { err = errors.Join(err, closeSpaces(spaces), closeSpaces(paths)) }()
	if err != nil {
		return d, "", err
	}
	if len(spaces) == 1 {
		d.Geometry = spaces[0].Geometry
	}
	table, err := digestTables(ctx, spaces)
	barred := d.Sanitize != nil && d.Sanitize.State == SanitizeFailed || d.TCG != nil && d.TCG.Shut()
	if err != nil && barred && !IsGone(err) {
		return d, "", nil
	}
	if err == nil {
		err = comparePaths(ctx, spaces, paths, nil)
	}
	return d, table, err
}

// openSpaces opens every node of a drive, those of its further paths apart, and makes sure that each is
// what was listed.
func (h *Host) openSpaces(ctx context.Context, d Drive, access Access, w *watch) (spaces, paths []Space, err error) {
	nodes := d.nodes()
	if len(nodes) == 0 {
		return nil, nil, fmt.Errorf("%s %s has no node: %w", d.Model, d.Serial, ErrNotFound)
	}
	if spaces, err = h.openNodes(ctx, d, nodes, access, w); err != nil {
		return spaces, nil, err
	}
	paths, err = h.openNodes(ctx, d, d.pathNodes(), access, w)
	return spaces, paths, err
}

func (h *Host) openNodes(ctx context.Context, d Drive, nodes []Namespace, access Access, w *watch) ([]Space, error) {
	var spaces []Space
	for _, n := range nodes {
		t, err := h.open(ctx, n.Node, access)
		if err != nil {
			return spaces, err
		}
		if t = (watched{t, len(spaces), w}); d.byDoor {
			t = byDoor{t}
		}
		s := Space{Node: n.Node, NSID: n.NSID, LUN: n.lun, Zoned: n.Zoned, transport: t}
		spaces = append(spaces, s)
		if t.Number() != n.Number {
			return spaces, fmt.Errorf("%s is device %v now, was %v: %w", n.Node, t.Number(), n.Number, ErrChanged)
		}
		if s.Geometry, err = t.Geometry(ctx); err != nil {
			return spaces, err
		}
		if s.SizeBytes != n.SizeBytes || s.LogicalBlock != n.LogicalBlock {
			return spaces, fmt.Errorf("%s has %d bytes in blocks of %d, expected %d in blocks of %d: %w",
				n.Node, s.SizeBytes, s.LogicalBlock, n.SizeBytes, n.LogicalBlock, ErrChanged)
		}
		spaces[len(spaces)-1] = s
	}
	return spaces, nil
}

// nodes are the drive's nodes as they were listed: its namespaces that have one, its logical units,
// or the only one it has.
func (d Drive) nodes() []Namespace {
	switch {
	case len(d.Namespaces) > 0:
		return slices.DeleteFunc(slices.Clone(d.Namespaces), func(n Namespace) bool { return n.Node == "" })
	case len(d.Units) > 0:
		var list []Namespace
		for _, u := range d.Units {
			list = append(list, Namespace{Node: u.Node, lun: u.LUN, Number: u.Number, SizeBytes: u.SizeBytes, LogicalBlock: u.LogicalBlock})
		}
		return list
	}
	return []Namespace{{Node: d.Nodes[0], Number: d.Number, SizeBytes: d.SizeBytes, LogicalBlock: d.LogicalBlock, Zoned: d.Zoning == HostManaged}}
}

func closeSpaces(spaces []Space) error {
	var err error
	for _, s := range spaces {
		err = errors.Join(err, s.transport.Close())
	}
	return err
}

// Open claims the drive for as long as the handle is open: it lists the host again, finds the
// drive by its identity whatever its nodes are now, opens them exclusively and makes sure that
// what was opened is what was found. The errors are *InUseError, ErrNotFound, ErrChanged, ErrGone,
// or the system's.
func (h *Host) Open(ctx context.Context, want Drive, o OpenOptions) (*Handle, error) {
	listed, err := h.Drives(ctx)
	if err != nil {
		return nil, err
	}
	d, err := h.selectOne(listed, string(want.ID))
	if err != nil {
		return nil, err
	}
	if err := free(d, o); err != nil {
		return nil, err
	}
	handle := &Handle{host: h, drive: d, watch: &watch{}}
	if handle.spaces, handle.paths, err = h.openSpaces(ctx, d, Exclusive, handle.watch); err == nil {
		err = handle.settle(ctx, want, o)
	}
	if err != nil {
		return nil, errors.Join(err, handle.Close())
	}
	return handle, nil
}

// free says whether nothing speaks against touching the drive but what may be overlooked.
func free(d Drive, o OpenOptions) error {
	left := slices.DeleteFunc(slices.Clone(d.Reasons), func(r Reason) bool {
		ours := r.Code == ReasonSanitizing || r.Code == ReasonLocked || r.Code == ReasonCountExpired
		keys := r.Code == ReasonTCGLocked || r.Code == ReasonShadowMBR
		return o.AllowFabric && r.Code == "fabric" || o.Ours && ours || o.Keys && keys
	})
	if len(left) == 0 && (d.State == StateReady || d.State == StateBlocked && len(d.Reasons) > 0) {
		return nil
	}
	return &InUseError{Node: d.Nodes[0], State: d.State, Reasons: d.Reasons}
}

// settle checks the claimed nodes: between listing and opening, a node can become another drive,
// or come into use.
func (h *Handle) settle(ctx context.Context, want Drive, o OpenOptions) error {
	if h.drive.SizeBytes != want.SizeBytes || h.drive.LogicalBlock != want.LogicalBlock {
		return fmt.Errorf("%s has %d bytes in blocks of %d, expected %d in blocks of %d: %w",
			h.drive.Nodes[0], h.drive.SizeBytes, h.drive.LogicalBlock, want.SizeBytes, want.LogicalBlock, ErrChanged)
	}
	for _, s := range slices.Concat(h.spaces, h.paths) {
		if s.ReadOnly {
			return &InUseError{Node: s.Node, State: StateBlocked, Reasons: []Reason{{Code: "read_only", Message: "it is write-protected"}}}
		}
	}
	if len(h.spaces) == 1 {
		h.drive.Geometry = h.spaces[0].Geometry
	}
	if err := h.Reidentify(ctx); err != nil {
		return err
	}
	listed, err := h.host.Drives(ctx)
	if err != nil {
		return err
	}
	for _, d := range listed {
		if d.Number == h.drive.Number {
			return free(d, o)
		}
	}
	return fmt.Errorf("%s: %w", h.drive.Nodes[0], ErrGone)
}

// Drive is what was known of the drive when it was opened.
func (h *Handle) Drive() Drive { return h.drive }

// Spaces are the drive's nodes.
func (h *Handle) Spaces() []Space { return slices.Clone(h.spaces) }

// Transport is the first open node: commands of the drive go through it.
func (h *Handle) Transport() Transport { return h.spaces[0].transport }

// Unit is the open node number i, from 0.
func (h *Handle) Unit(i int) Transport { return h.spaces[i].transport }

// Geometry asks the open nodes anew, and adds up what they say.
func (h *Handle) Geometry(ctx context.Context) (Geometry, error) {
	var sum Geometry
	for i, s := range slices.Concat(h.spaces, h.paths) {
		g, err := s.transport.Geometry(ctx)
		if err != nil {
			return Geometry{}, err
		}
		if g.SizeBytes != s.SizeBytes || g.LogicalBlock != s.LogicalBlock || g.Sequence != s.Sequence {
			return Geometry{}, fmt.Errorf("%s: size %d, was %d; medium %d, was %d: %w", s.Node, g.SizeBytes, s.SizeBytes, g.Sequence, s.Sequence, ErrChanged)
		}
		if i >= len(h.spaces) {
			continue
		}
		if i == 0 {
			sum = g
			continue
		}
		sum.SizeBytes += g.SizeBytes
		sum.LogicalBlock, sum.PhysicalBlock = min(sum.LogicalBlock, g.LogicalBlock), max(sum.PhysicalBlock, g.PhysicalBlock)
		sum.ReadOnly = sum.ReadOnly || g.ReadOnly
	}
	return sum, nil
}

// Queue opens a queue of block I/O on the first node.
func (h *Handle) Queue(depth int) (blockio.Queue, error) { return h.spaces[0].Queue(depth) }

// DropCaches makes later reads come from the drive.
func (h *Handle) DropCaches(ctx context.Context) error {
	var err error
	for _, s := range slices.Concat(h.spaces, h.paths) {
		err = errors.Join(err, s.transport.DropCaches(ctx))
	}
	return err
}

// Health asks the drive for its condition. The error is ErrNoDoor where it cannot be asked.
func (h *Handle) Health(ctx context.Context) (Health, error) {
	return readHealth(ctx, h.Transport(), h.drive)
}

// Reidentify makes sure that the open nodes are still the drive that was opened: by what the host
// says of each node, and by what the drive itself says on the open descriptor. The errors are
// ErrChanged and ErrGone; after either nothing more may be sent.
func (h *Handle) Reidentify(ctx context.Context) error {
	if _, err := h.Geometry(ctx); err != nil {
		return err
	}
	devs, err := h.host.nodes.wait(h.host.fs.blockdevs)
	if err != nil {
		return err
	}
	for _, s := range slices.Concat(h.spaces, h.paths) {
		if !slices.ContainsFunc(devs, func(b blockdev) bool { return b.number == s.transport.Number() }) {
			return fmt.Errorf("%s is not listed any more: %w", filepath.Base(s.Node), ErrGone)
		}
	}
	if h.drive.Identity != IdentityDrive {
		return h.reidentifyByHost(devs)
	}
	if err := h.reidentifyPaths(ctx); err != nil {
		return err
	}
	now := h.drive
	now.Reasons, now.State, now.Sanitize, now.Notes, now.Lacks, now.Hidden = nil, StateReady, nil, nil, nil, nil
	if err := h.host.identifyOpen(ctx, h.inner(), &now); err != nil {
		return fmt.Errorf("%s cannot be asked what it is: %w", h.drive.Nodes[0], err)
	}
	if now.ID != h.drive.ID || !sameNamespaces(now.Namespaces, h.drive.Namespaces) {
		return fmt.Errorf("%s is %s %s with %d namespaces now, was %s %s with %d: %w", h.drive.Nodes[0],
			now.Model, now.Serial, len(now.Namespaces), h.drive.Model, h.drive.Serial, len(h.drive.Namespaces), ErrChanged)
	}
	if !sameZones(now, h.drive) {
		return fmt.Errorf("%s: its zones are not what they were: %w", h.drive.Nodes[0], ErrChanged)
	}
	if !sameFormat(now, h.drive) {
		return fmt.Errorf("%s: what a format reaches, the formats of its namespaces or its unallocated capacity are not what they were: %w", h.drive.Nodes[0], ErrChanged)
	}
	for _, r := range now.Reasons {
		if r.Code == "shared_subsystem" || r.Code == ReasonReserved {
			return fmt.Errorf("%s: %s: %w", h.drive.Nodes[0], r.Message, ErrChanged)
		}
	}
	return nil
}

// reidentifyByHost is for drives that cannot be asked.
func (h *Handle) reidentifyByHost(devs []blockdev) error {
	known := h.host.library()
	of := h.spaces[:1]
	if h.drive.Protocol == ProtocolUFS || h.drive.Protocol == ProtocolMMC {
		of = h.spaces // units and areas have no identity of their own
	}
	for _, b := range devs {
		if !slices.ContainsFunc(of, func(s Space) bool { return s.transport.Number() == b.number }) {
			continue
		}
		now := h.host.fs.identify(b, known[b.name])
		if now.ID != h.drive.ID {
			return fmt.Errorf("%s is %s %s now, was %s %s: %w", nodePath(b.name), now.Model, now.Serial, h.drive.Model, h.drive.Serial, ErrChanged)
		}
	}
	return nil
}

// inner is the first open node without what stands in for its blocks.
func (h *Handle) inner() Transport { return h.spaces[0].inner() }

func (s Space) inner() Transport {
	if b, ok := s.transport.(byDoor); ok {
		return b.Transport
	}
	return s.transport
}

// PartitionTable is the hex SHA-256 of the drive's first 34 and last 33 logical blocks: the
// protective MBR and both copies of a GPT, or whatever is there instead; of a zoned space it is that of
// how far each zone is written, and of its first blocks. For a drive with several nodes it is the digest of theirs.
func (h *Handle) PartitionTable(ctx context.Context) (string, error) {
	return digestTables(ctx, h.spaces)
}

func digestTables(ctx context.Context, spaces []Space) (string, error) {
	if len(spaces) == 1 {
		return digestTable(ctx, spaces[0])
	}
	sum := sha256.New()
	for _, s := range spaces {
		digest, err := digestTable(ctx, s)
		if err != nil {
			return "", err
		}
		fmt.Fprintf(sum, "%d:%s\n", uint64(s.NSID)+s.LUN, digest)
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}

func digestTable(ctx context.Context, s Space) (digest string, err error) {
	if s.LogicalBlock <= 0 {
		return "", fmt.Errorf("blocks of %d bytes", s.LogicalBlock)
	}
	q, err := s.Queue(1)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, q.Close()) }()
	sum := sha256.New()
	first := min(34, s.Blocks())
	last := min(33, s.Blocks()-first)
	if s.Zoned {
		r, err := s.ReadZones(ctx)
		if err != nil {
			return "", fmt.Errorf("read zones: %w", err)
		}
		r.writeTo(sum)
		first, last = min(34, r.CapacityBytes/int64(s.LogicalBlock)), 0
		if z := r.List[0]; z.State == ZoneOffline || r.Bounded && z.State == ZoneEmpty {
			first = 0
		} else if r.Bounded && z.State == ZoneBegun {
			first = min(first, z.Written/int64(s.LogicalBlock))
		}
	}
	for _, part := range []struct{ from, n int64 }{{0, first}, {s.Blocks() - last, last}} {
		if part.n == 0 {
			continue
		}
		b := make([]byte, part.n*int64(s.LogicalBlock))
		if err := blockio.ReadFull(ctx, q, b, part.from*int64(s.LogicalBlock), s.LogicalBlock); err != nil {
			return "", fmt.Errorf("read partition table: %w", err)
		}
		sum.Write(b)
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}

// Close gives the drive up.
func (h *Handle) Close() error { return errors.Join(closeSpaces(h.spaces), closeSpaces(h.paths)) }
