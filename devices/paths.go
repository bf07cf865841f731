package devices

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/expunge-dev/expunge/devices/blockio"
)

// Path is a further node of blocks that are reached by another node already: another port of the
// drive, another of its controllers, another bridge. All of them are held while the drive is worked on.
type Path struct {
	Node   string `json:"node"`
	Of     string `json:"of"` // the node by which the same blocks are read and written
	Number Number `json:"-"`
}

// mergePaths makes one drive of those that are one: a drive that vouches for its identity and has a
// world wide name is the same by whatever node it is asked. What speaks against one path speaks
// against the drive.
func mergePaths(drives []Drive) []Drive {
	var list []Drive
	at := map[ID]int{}
	for _, d := range drives {
		i, known := at[d.ID]
		switch {
		case d.Identity != IdentityDrive || d.WWN == "":
		case known:
			list[i] = joinPaths(list[i], d)
			continue
		default:
			at[d.ID] = len(list)
		}
		list = append(list, d)
	}
	return list
}

// joinPaths adds to a drive the nodes of another path to it. The drive is known by the path with the
// least between it and the host.
func joinPaths(a, b Drive) Drive {
	between := func(d Drive) int {
		n := len(d.Lacks)
		if d.Bridge != "" || d.Fabric != "" {
			n += 1000
		}
		return n
	}
	if between(b) < between(a) {
		a, b = b, a
	}
	a.Nodes = slices.Concat(a.Nodes, b.Nodes)
	a.ReadOnly, a.Fabric = a.ReadOnly || b.ReadOnly, cmp.Or(a.Fabric, b.Fabric)
	for _, c := range b.Controllers {
		if !slices.Contains(a.Controllers, c) {
			a.Controllers = append(a.Controllers, c)
		}
	}
	if why := a.pairNodes(b); why != "" {
		a.refuse(StateBlocked, Reason{"paths_differ", fmt.Sprintf("%s and %s are nodes of one drive, and %s", a.Nodes[0], b.Nodes[0], why), "have the kernel read both again, or detach one"})
	}
	if a.Zoning == HostManaged || slices.ContainsFunc(a.Namespaces, func(n Namespace) bool { return n.Zoned }) {
		a.refuse(StateBlocked, Reason{ReasonZonesKind, "it is written zone by zone, and is reached by several nodes, whose zones this version of expunge does not compare", "detach all of its controllers but one"})
	}
	for _, r := range b.Reasons {
		if !slices.ContainsFunc(a.Reasons, func(x Reason) bool { return x == r || x.Code == r.Code && r.Code == ReasonSanitizing }) {
			a.Reasons = append(a.Reasons, r)
		}
	}
	for _, s := range []State{StateSystem, StateInUse, StateBlocked, StateUnreadable} {
		if a.State == s || b.State == s {
			a.State = s
			break
		}
	}
	for _, x := range []struct{ to, more *[]Reason }{{&a.Notes, &b.Notes}, {&a.Lacks, &b.Lacks}} {
		for _, r := range *x.more {
			if !slices.Contains(*x.to, r) {
				*x.to = append(*x.to, r)
			}
		}
	}
	return a
}

// pairNodes finds for each node of another path the one of the same namespace or logical unit, and
// says why that cannot be.
func (d *Drive) pairNodes(other Drive) (why string) {
	mine, theirs := d.nodes(), other.nodes()
	if len(mine) != len(theirs) {
		return fmt.Sprintf("one shows %d of its namespaces or units and the other %d", len(mine), len(theirs))
	}
	if d.Protocol != other.Protocol {
		return fmt.Sprintf("one takes commands of %s and the other of %s", d.Protocol, other.Protocol)
	}
	for i, n := range theirs {
		m := mine[i]
		if m.NSID != n.NSID || m.lun != n.lun || m.SizeBytes != n.SizeBytes || m.LogicalBlock != n.LogicalBlock {
			return fmt.Sprintf("show %d bytes in blocks of %d and %d in blocks of %d", m.SizeBytes, m.LogicalBlock, n.SizeBytes, n.LogicalBlock)
		}
		d.Paths = append(d.Paths, Path{Node: n.Node, Of: m.Node, Number: n.Number})
		d.Notes = append(d.Notes, Reason{Code: "path", Message: fmt.Sprintf("%s reaches the same blocks as %s, and is held with it", n.Node, m.Node)})
	}
	for _, p := range other.Paths { // of a drive that was known by another path until now
		at := slices.IndexFunc(theirs, func(n Namespace) bool { return n.Node == p.Of })
		p.Of = mine[max(0, at)].Node
		d.Paths = append(d.Paths, p)
	}
	return ""
}

// pathNodes are the further nodes as they were listed, each with what its blocks are.
func (d Drive) pathNodes() []Namespace {
	var list []Namespace
	nodes := d.nodes()
	for _, p := range d.Paths {
		for _, n := range nodes {
			if n.Node == p.Of {
				n.Node, n.Number = p.Node, p.Number
				list = append(list, n)
				break
			}
		}
	}
	return list
}

// space is the open node number i, from 0: first those that are written, then those of further paths.
func (h *Handle) space(i int) *Space {
	if i < len(h.spaces) {
		return &h.spaces[i]
	}
	return &h.paths[i-len(h.spaces)]
}

// reidentifyPaths makes sure that each further path still leads to the drive.
func (h *Handle) reidentifyPaths(ctx context.Context) error {
	for _, s := range h.paths {
		now := Drive{Nodes: []string{s.Node}, Protocol: h.drive.Protocol, Geometry: s.Geometry, State: StateReady, Bridge: h.drive.Bridge}
		var err error
		if len(h.drive.Units) > 0 {
			// A unit has a world wide name of its own; the serial number is the drive's.
			var serial string
			serial, _, err = unitIdentity(ctx, s.inner())
			now.vouch(h.drive.Model, serial, h.drive.WWN, "")
		} else {
			err = h.host.identifyOpen(ctx, s.inner(), &now)
		}
		if err != nil {
			return fmt.Errorf("%s cannot be asked what it is: %w", s.Node, err)
		}
		if now.ID != h.drive.ID {
			return fmt.Errorf("%s is %s %s now, was %s %s: %w", s.Node, now.Model, now.Serial, h.drive.Model, h.drive.Serial, ErrChanged)
		}
	}
	return nil
}

// ErrPathsDiffer: nodes that claim to be one drive do not show the same blocks. Nothing that is
// done through one of them is done to the other.
var ErrPathsDiffer = errors.New("nodes that claim to be one drive do not show the same blocks")

// pathSamples is how many blocks of each node are compared beside its partition table, drawn anew
// each time.
const pathSamples = 64

// ComparePaths makes sure that every path shows what the node shows that is written: claims of one
// identity are no proof of one medium, least of all through docks. It compares the blocks at the
// offsets given for each of Spaces, the first ones, and others drawn now. Blocks that the first node
// cannot read are passed over; where most are such, nothing is known, which is ErrPathsDiffer, too. The error is ErrPathsDiffer, or that of a read.
func (h *Handle) ComparePaths(ctx context.Context, offsets [][]int64) error {
	return comparePaths(ctx, h.spaces, h.paths, offsets)
}

func comparePaths(ctx context.Context, spaces, paths []Space, offsets [][]int64) error {
	for _, p := range paths {
		at := slices.IndexFunc(spaces, func(s Space) bool { return s.NSID == p.NSID && s.LUN == p.LUN })
		if at < 0 {
			return fmt.Errorf("%s: %w", p.Node, ErrPathsDiffer)
		}
		var also []int64
		if at < len(offsets) {
			also = offsets[at]
		}
		if err := comparePath(ctx, spaces[at], p, also); err != nil {
			return fmt.Errorf("%s and %s: %w", spaces[at].Node, p.Node, err)
		}
	}
	return nil
}

func comparePath(ctx context.Context, first, other Space, offsets []int64) (err error) {
	a, err := first.Queue(1)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, a.Close()) }()
	b, err := other.Queue(1)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.Close()) }()
	block := int64(first.LogicalBlock)
	var blocks []int64
	for _, off := range offsets {
		blocks = append(blocks, off/block)
	}
	for n := range min(34, first.Blocks()) {
		blocks = append(blocks, n)
	}
	for range pathSamples {
		var n [8]byte
		rand.Read(n[:])
		blocks = append(blocks, int64(binary.LittleEndian.Uint64(n[:])>>1)%max(1, first.Blocks()))
	}
	here, there := make([]byte, block), make([]byte, block)
	unread := 0
	for _, n := range blocks {
		if err := blockio.ReadFull(ctx, a, here, n*block, int(block)); err != nil {
			if IsGone(err) || ctx.Err() != nil {
				return err
			}
			if unread++; 2*unread > len(blocks) {
				return fmt.Errorf("%d of %d blocks cannot be read, so that they cannot be compared: %w", unread, len(blocks), ErrPathsDiffer)
			}
			continue
		}
		if err := blockio.ReadFull(ctx, b, there, n*block, int(block)); err != nil {
			return err
		}
		if !bytes.Equal(here, there) {
			return fmt.Errorf("block %d: %w", n, ErrPathsDiffer)
		}
	}
	return nil
}
