package devices

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/expunge-dev/expunge/devices/nvme"
)

// Namespace is one of an NVMe drive's (NVMe base 2.0, 3.2.1). A sanitize operation reaches all of
// them, whether they are attached to a controller or not.
type Namespace struct {
	NSID         uint32 `json:"nsid"`
	Node         string `json:"node,omitempty"` // of this host; empty when it has none
	Attached     bool   `json:"attached"`       // to the controller by which the drive is reached
	SizeBytes    int64  `json:"size_bytes"`
	LogicalBlock int    `json:"logical_block_bytes"`
	Zoned        bool   `json:"zoned,omitempty"`
	Zones        Zones  `json:"zones,omitzero"` // of a zoned one; absent when the drive does not tell them
	Number       Number `json:"-"`
	protected    bool   // against writes; a sanitize is refused then
	reserves     bool   // it has reservations, and this controller the commands for them
	lun          uint64 // of a logical unit that is treated like a namespace
}

// SanitizeState is where a drive's own sanitize stands.
type SanitizeState string

// The states. Only SanitizeIdle leaves the drive's blocks to the host.
const (
	SanitizeIdle    SanitizeState = "idle"
	SanitizeRunning SanitizeState = "running"
	SanitizeFailed  SanitizeState = "failed" // the latest operation failed
	SanitizeUnknown SanitizeState = "unknown"
)

// ReadBack is what reads return after a drive erased itself, as it says.
type ReadBack string

// What reads may return.
const (
	ReadsConstant ReadBack = "00 or ff" // one of the two throughout each block
	ReadsZeros    ReadBack = "00"
	ReadsAnything ReadBack = "anything" // but what was there
	ReadsNothing  ReadBack = "nothing"  // blocks cannot be read until they are written
)

// SanitizeSupport is what a drive says of its sanitize command.
type SanitizeSupport struct {
	Crypto    bool `json:"crypto"`
	Block     bool `json:"block"`
	Overwrite bool `json:"overwrite"`
	// NoDeallocate: blocks can be left allocated after a sanitize, and their media as they are, so
	// that what is read back is what is there.
	NoDeallocate  bool `json:"no_deallocate"`
	PurgeRequired bool `json:"purge_required"` // the command can demand purge
	// MediaVerification: an NVMe drive can show its media as an erase left them, before it deallocates blocks.
	MediaVerification bool `json:"media_verification,omitempty"`
	// ZoneNoReset: an erase can be told to leave the zones of a hard disk full, or as they were.
	ZoneNoReset bool `json:"zone_no_reset,omitempty"`
	// AfterBlock and AfterCrypto are what reads may return after the operation.
	AfterBlock  ReadBack      `json:"reads_after_block"`
	AfterCrypto ReadBack      `json:"reads_after_crypto"`
	State       SanitizeState `json:"state"`
	// Waiting: what it did is done, and it waits in media verification for whoever ordered that to read it.
	Waiting bool `json:"waiting,omitempty"`
	// Unrestricted: the failed operation allowed its failure to be left without success.
	Unrestricted bool `json:"unrestricted,omitempty"`
	// Percent is how far it is while it runs.
	Percent int `json:"percent,omitempty"`
	// The estimates are the drive's own, in seconds; nil where it has none. That of an overwrite is for
	// one pass.
	EstimateBlock     *int64 `json:"estimate_block_seconds,omitempty"`
	EstimateCrypto    *int64 `json:"estimate_crypto_seconds,omitempty"`
	EstimateOverwrite *int64 `json:"estimate_overwrite_seconds,omitempty"`
}

// questions are how often a command that only asks is sent when its answer is lost, as in a reset
// of the controller.
const questions = 3

// admin sends a command that only asks, and judges its status.
func admin(ctx context.Context, t Transport, c *nvme.Command) ([]byte, error) {
	for n := 1; ; n++ {
		done, err := t.NVMe(ctx, c)
		if err == nil {
			return c.Data, done.Err()
		}
		if n == questions || IsGone(err) || ctx.Err() != nil || errors.Is(err, ErrNoDoor) || errors.Is(err, fs.ErrPermission) {
			return nil, err
		}
	}
}

// identifyNVMe asks a controller what it is, which namespaces its subsystem has, who else reaches
// them, and where its sanitize stands.
func identifyNVMe(ctx context.Context, t Transport, d *Drive) error {
	page, err := admin(ctx, t, nvme.IdentifyController{}.Command())
	if err != nil {
		return fmt.Errorf("identify controller: %w", err)
	}
	c, err := nvme.ParseController(page)
	if err != nil {
		return err
	}
	namespaces, listed, err := readNamespaces(ctx, t, c, d.Namespaces)
	if err != nil {
		return err
	}
	d.vouch(c.MN, c.SN, c.SUBNQN, c.FR)
	d.Namespaces = namespaces
	if rotates(ctx, t, c, namespaces) {
		d.Media = MediaMagnetic
	}
	if why := shared(ctx, t, c, d.local); why != "" {
		d.refuse(StateBlocked, Reason{"shared_subsystem", why, "detach it from the other hosts first: whatever is done here is done to their data"})
	}
	if len(d.Controllers) > 1 {
		d.Notes = append(d.Notes, Reason{Code: "controllers", Message: fmt.Sprintf("this host reaches it by %d controllers: %s", len(d.Controllers), strings.Join(d.Controllers, " "))})
	}
	for _, n := range namespaces {
		if n.protected {
			d.refuse(StateBlocked, Reason{"read_only", fmt.Sprintf("namespace %d is write-protected", n.NSID), "remove the write protection, then list again"})
		}
		if !n.Attached && n.Node != "" {
			d.refuse(StateBlocked, Reason{"namespace_unreachable",
				fmt.Sprintf("namespace %d is attached to another controller than %s alone, which takes the drive's commands", n.NSID, strings.Join(d.Controllers[:min(1, len(d.Controllers))], "")),
				"attach every namespace to each of the drive's controllers"})
		}
		if n.Attached && n.Node == "" {
			d.refuse(StateBlocked, Reason{"namespace_unreachable",
				fmt.Sprintf("namespace %d is attached and has no block device: whether it is used cannot be told", n.NSID), "have the kernel scan the controller again"})
		}
	}
	d.Sanitize, d.FormatNVM = supportOf(c), formatOf(c, namespaces, listed)
	d.Unallocated = int64(min(c.UNVMCAP, 1<<62))
	if err := readSanitizeState(ctx, t, d); err != nil {
		return err
	}
	if err := readFacts(ctx, t, d, c); err != nil {
		return err
	}
	if d.TCG = nil; c.SecurityCommands() {
		return readTCG(ctx, t, d)
	}
	return nil
}

// readNamespaces lists those of the subsystem, and what each says. known are the ones that have block
// devices.
func readNamespaces(ctx context.Context, t Transport, c nvme.Controller, known []Namespace) (list []Namespace, said []nvme.Namespace, err error) {
	attached, err := listNamespaces(ctx, t, false)
	if err != nil {
		return nil, nil, fmt.Errorf("list namespaces: %w", err)
	}
	all := attached
	if c.NamespaceManagement() {
		if all, err = listNamespaces(ctx, t, true); err != nil {
			return nil, nil, fmt.Errorf("list allocated namespaces: %w", err)
		}
	}
	is := map[uint32]bool{}
	for _, id := range attached {
		is[id] = true
	}
	for _, id := range all {
		page, err := admin(ctx, t, nvme.IdentifyNamespace{NSID: id, Allocated: !is[id]}.Command())
		if err != nil {
			return nil, nil, fmt.Errorf("identify namespace %d: %w", id, err)
		}
		ns, err := nvme.ParseNamespace(page)
		if err != nil {
			return nil, nil, fmt.Errorf("namespace %d: %w", id, err)
		}
		n := Namespace{NSID: id, Attached: is[id], SizeBytes: ns.SizeBytes(), LogicalBlock: 1 << ns.LBADS}
		for _, k := range known {
			if k.NSID == id {
				n.Node, n.Number, n.Zoned = k.Node, k.Number, k.Zoned
			}
		}
		n.protected, n.reserves = ns.WriteProtected(), ns.RESCAP != 0 && c.Reservations()
		list, said = append(list, n), append(said, ns)
		delete(is, id)
	}
	for id := range is {
		return nil, nil, fmt.Errorf("namespace %d is attached and not allocated: the lists contradict each other", id)
	}
	if len(list) == 0 {
		return nil, nil, errors.New("the controller lists no namespace")
	}
	for _, k := range known {
		if k.Node != "" && !hasNamespace(list, k.NSID) {
			return nil, nil, fmt.Errorf("%s is namespace %d, which the controller does not list: %w", k.Node, k.NSID, ErrChanged)
		}
	}
	return list, said, nil
}

func hasNamespace(list []Namespace, id uint32) bool {
	for _, n := range list {
		if n.NSID == id {
			return true
		}
	}
	return false
}

func listNamespaces(ctx context.Context, t Transport, allocated bool) ([]uint32, error) {
	var list []uint32
	for after, more := uint32(0), true; more; {
		page, err := admin(ctx, t, nvme.NamespaceList{After: after, Allocated: allocated}.Command())
		if err != nil {
			return nil, err
		}
		var part []uint32
		if part, more, err = nvme.ParseNamespaceList(page, after); err != nil {
			return nil, err
		}
		list = append(list, part...)
		if more {
			after = part[len(part)-1]
		}
	}
	return list, nil
}

// shared says why somebody else may reach the drive's data; "" when nobody does. local are the
// controllers of the subsystem that this host has.
func shared(ctx context.Context, t Transport, c nvme.Controller, local []uint16) string {
	if !c.NamespaceManagement() {
		if c.CMIC&7 == 0 {
			return ""
		}
		return fmt.Sprintf("its subsystem may have several ports or controllers (CMIC %#x), and it cannot list them", c.CMIC)
	}
	page, err := admin(ctx, t, nvme.ControllerList{}.Command())
	var list []uint16
	if err == nil {
		list, err = nvme.ParseControllerList(page)
	}
	switch {
	case err != nil && c.CMIC&7 == 0:
		return ""
	case err != nil:
		return fmt.Sprintf("its subsystem may have several ports or controllers (CMIC %#x), and they cannot be listed: %v", c.CMIC, err)
	}
	mine := append([]uint16{c.CNTLID}, local...)
	others := slices.DeleteFunc(slices.Clone(list), func(id uint16) bool { return slices.Contains(mine, id) })
	switch {
	case !slices.Contains(list, c.CNTLID):
		return fmt.Sprintf("its subsystem has %d controllers, and the one that was asked (%d) is not among them", len(list), c.CNTLID)
	case len(others) > 0:
		return fmt.Sprintf("its subsystem has %d controllers, %d of them elsewhere: other hosts may use it", len(list), len(others))
	}
	return ""
}

func supportOf(c nvme.Controller) *SanitizeSupport {
	if c.SANICAP == 0 {
		return nil
	}
	return &SanitizeSupport{
		Crypto: c.CryptoErase(), Block: c.BlockErase(), Overwrite: c.Overwrite(), PurgeRequired: c.PurgeRequiredSupported(), MediaVerification: c.MediaVerification(),
		NoDeallocate: !c.NoDeallocateInhibited() && c.NoDeallocateModifies() == 1, State: SanitizeUnknown,
		AfterBlock: ReadsConstant, AfterCrypto: ReadsAnything,
	}
}

// ReadSanitizeStatus reads log page 81h and returns it as it came, too.
func ReadSanitizeStatus(ctx context.Context, t Transport) (nvme.SanitizeStatus, []byte, error) {
	page, err := admin(ctx, t, nvme.GetLogPage{LID: nvme.LogSanitize, Retain: true}.Command())
	if err != nil {
		return nvme.SanitizeStatus{}, nil, fmt.Errorf("read the sanitize status log: %w", err)
	}
	s, err := nvme.ParseSanitizeStatus(page)
	return s, page, err
}

// readSanitizeState asks where the drive's sanitize stands. A drive that can sanitize itself and
// does not tell is refused: it might be at it.
func readSanitizeState(ctx context.Context, t Transport, d *Drive) error {
	if d.Sanitize == nil {
		return nil
	}
	s, _, err := ReadSanitizeStatus(ctx, t)
	if IsGone(err) {
		return err
	}
	if err != nil {
		d.refuse(StateBlocked, Reason{"sanitize_unknown", fmt.Sprintf("whether it is sanitizing itself cannot be told: %v", err),
			"a drive whose sanitize status cannot be read cannot be proven clean by its own commands: destroy it, or update its firmware"})
		return nil
	}
	d.Sanitize.State = SanitizeIdle
	switch {
	case s.SANS() == nvme.InMediaVerification && d.Sanitize.MediaVerification:
		d.Sanitize.State, d.Sanitize.Waiting = SanitizeRunning, true
		d.refuse(StateBlocked, Reason{ReasonSanitizing, "a sanitize of it is done, and it waits in media verification to be read",
			"expunge recover goes on if the job is one of this state; otherwise a loss of power ends it"})
	case s.Status() == nvme.SanitizeInProgress || s.SANS() == nvme.InDeallocation && d.Sanitize.MediaVerification:
		d.sanitizing(nvme.Action(s.SCDW10&7).String(), int(s.SPROG)*100/65536)
	case s.Status() == nvme.SanitizeFailed:
		d.sanitizeFailed(s.Unrestricted())
	}
	for _, x := range []struct {
		to *(*int64)
		a  nvme.Action
	}{{&d.Sanitize.EstimateBlock, nvme.BlockErase}, {&d.Sanitize.EstimateCrypto, nvme.CryptoErase}, {&d.Sanitize.EstimateOverwrite, nvme.Overwrite}} {
		if seconds, known := s.Estimate(x.a, false); known {
			n := int64(seconds)
			*x.to = &n
		}
	}
	return nil
}

// sanitizing marks a drive that is at work by itself.
func (d *Drive) sanitizing(what string, percent int) {
	d.Sanitize.State, d.Sanitize.Percent = SanitizeRunning, percent
	words := fmt.Sprintf("%d %%", percent)
	if what != "" {
		words = what + ", " + words
	}
	d.refuse(StateBlocked, Reason{ReasonSanitizing, "it is sanitizing itself (" + words + ")",
		"expunge recover waits for it if the job is one of this state; leave the drive alone otherwise"})
}

// sanitizeFailed marks a drive whose latest sanitize failed.
func (d *Drive) sanitizeFailed(unrestricted bool) {
	d.Sanitize.State, d.Sanitize.Unrestricted = SanitizeFailed, unrestricted
	d.Notes = append(d.Notes, Reason{Code: "sanitize_failed", Message: "its latest sanitize failed: it holds data", Hint: "expunge recover says what can be done"})
}

// ReasonSanitizing is the code of a drive that is at work by itself.
const ReasonSanitizing = "sanitizing"
