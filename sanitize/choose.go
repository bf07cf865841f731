package sanitize

import (
	"fmt"
	"slices"

	"github.com/expunge-dev/expunge/devices"
	"github.com/expunge-dev/expunge/sanitize/rules"
)

// DrivePlan is what will be done to one drive, and everything that must still be so when it is.
type DrivePlan struct {
	ID            devices.ID       `json:"id"`
	Nodes         []string         `json:"nodes"` // when the plan was made; they may change
	Serial        string           `json:"serial"`
	Model         string           `json:"model"`
	WWN           string           `json:"wwn,omitempty"`
	Firmware      string           `json:"firmware"`
	Protocol      devices.Protocol `json:"protocol"`
	Media         devices.Media    `json:"media"`
	Identity      devices.Identity `json:"identity"`
	SizeBytes     int64            `json:"size_bytes"`
	LogicalBlock  int              `json:"logical_block_bytes"`
	PhysicalBlock int              `json:"physical_block_bytes"`
	PowerOnHours  *int64           `json:"power_on_hours,omitempty"`
	Fabric        string           `json:"fabric,omitempty"`
	// PartitionTable is the hex SHA-256 of the drive's first 34 and last 33 logical blocks: a
	// drive that was put to use after planning does not match any more.
	PartitionTable string `json:"partition_table_sha256"`

	// Namespaces are all of an NVMe drive's, attached or not: what a sanitize reaches.
	Namespaces []Namespace `json:"namespaces,omitempty"`
	// Unallocated is the capacity of an NVMe drive that belongs to no namespace.
	Unallocated int64 `json:"unallocated_bytes,omitempty"`
	// Units are those of a SCSI drive that has several: each is erased by itself.
	Units []Unit `json:"logical_units,omitempty"`
	// Zones are those of a hard disk that is written zone by zone.
	Zones devices.Zones `json:"zones,omitzero"`
	// Zoning is host-aware for a disk that takes writes in any order and tells its zones.
	Zoning devices.Zoning `json:"zoning,omitempty"`
	// Restore are the areas hidden from the host that are made accessible first, in order.
	Restore []devices.HiddenArea `json:"restore,omitempty"`
	// Areas are those beside the blocks that the drive was asked for, and what it said.
	Areas []devices.Area `json:"areas,omitempty"`
	// Reformat is the logical block length that a format gives the drive; 0 leaves it.
	Reformat int `json:"reformat,omitempty"`
	// BlocksBarred: an earlier sanitize failed, or the drive is locked, so that nothing can be read or written before this one.
	BlocksBarred bool `json:"blocks_barred,omitempty"`

	Scope        Scope            `json:"scope"`
	Method       Method           `json:"method"`
	Technique    Technique        `json:"technique"`
	Scheme       string           `json:"scheme,omitempty"`
	Passes       []Pass           `json:"passes,omitempty"`
	Operations   []Operation      `json:"operations,omitempty"` // what the drive does by itself, in order
	Leaves       devices.ReadBack `json:"leaves,omitempty"`     // what reads return after them
	Verification VerifyMode       `json:"verification"`
	// Approvals is how many people must approve before it is begun, by the policy's rules.
	Approvals int              `json:"approvals,omitempty"`
	Rejected  []Rejected       `json:"rejected"`
	Excludes  []devices.Reason `json:"excludes"`           // what the technique does not reach
	RestsOn   []devices.Reason `json:"rests_on,omitempty"` // what a host cannot prove
	Notes     []devices.Reason `json:"notes,omitempty"`
	Given     *Given           `json:"given,omitempty"` // what people say of it; it decides nothing
}

// Namespace is one as a plan binds it. Nodes are left out: they change.
type Namespace struct {
	NSID         uint32 `json:"nsid"`
	Attached     bool   `json:"attached"`
	SizeBytes    int64  `json:"size_bytes"` // of blocks that exist
	LogicalBlock int    `json:"logical_block_bytes"`
	// Zones are those of a namespace that is written zone by zone.
	Zones devices.Zones `json:"zones,omitzero"`
}

// planned is a namespace as a plan binds it.
func planned(n devices.Namespace) Namespace {
	size := n.SizeBytes
	if n.Zones.Count > 0 {
		size = n.Zones.Bytes()
	}
	return Namespace{n.NSID, n.Attached, size, n.LogicalBlock, n.Zones}
}

// Unit is a logical unit as a plan binds it.
type Unit struct {
	LUN          uint64 `json:"lun"`
	SizeBytes    int64  `json:"size_bytes"`
	LogicalBlock int    `json:"logical_block_bytes"`
}

// space is a range of the drive's address space that has blocks of one size: a namespace that can
// be read, a logical unit, or all of a drive that has neither. Base is where it begins when the spaces are
// counted one after another, as journal and certificate do.
type space struct {
	base   int64
	size   int64
	block  int
	number uint32
	zones  devices.Zones // of one that is written zone by zone
}

func (dp DrivePlan) spaces() []space {
	if len(dp.Units) > 0 {
		var list []space
		base := int64(0)
		for _, u := range dp.Units {
			list = append(list, space{base: base, size: u.SizeBytes, block: u.LogicalBlock, number: uint32(u.LUN)})
			base += u.SizeBytes
		}
		return list
	}
	if len(dp.Namespaces) == 0 {
		return []space{{size: dp.SizeBytes, block: dp.LogicalBlock, zones: dp.Zones}}
	}
	var list []space
	base := int64(0)
	for _, n := range dp.Namespaces {
		if n.Attached {
			list = append(list, space{base, n.SizeBytes, n.LogicalBlock, n.NSID, n.Zones})
			base += n.SizeBytes
		}
	}
	return list
}

// Scope says of what a certificate speaks.
type Scope string

// The scopes: the drive that vouched for itself, or the logical device that the host shows.
const (
	ScopeDevice  Scope = "device"
	ScopeLogical Scope = "logical"
)

// Rejected is a technique that was not chosen, and why.
type Rejected struct {
	Technique Technique `json:"technique"`
	Code      string    `json:"code"`
	Message   string    `json:"message"`
}

// Choose decides how the drive is sanitized: the technique of highest assurance that reaches the
// method. It touches nothing and never settles for less than was asked: the error is then a
// *Refusal that says what would do. r must be Normal. partitionTable is Host.Inspect's digest. judged is
// what the policy's rules come to (Policy.Judge); a policy that has some refuses without.
func Choose(d devices.Drive, partitionTable string, r Request, p Policy, judged Rulings) (DrivePlan, error) {
	return decide(d, partitionTable, r, p, judged, "")
}

// decide is Choose, for a drive that is planned to reach a method already, or for one that is not yet ("").
func decide(d devices.Drive, partitionTable string, r Request, p Policy, judged Rulings, already Method) (DrivePlan, error) {
	if err := choosable(d, r); err != nil {
		return DrivePlan{}, err
	}
	method, err := p.tightened(r, judged, already)
	if err != nil {
		return DrivePlan{}, err
	}
	if err := p.covers(d); err != nil {
		return DrivePlan{}, err
	}
	verify, err := p.verification(method, r.Verify)
	if err != nil {
		return DrivePlan{}, err
	}
	plan := DrivePlan{
		ID: d.ID, Nodes: slices.Clone(d.Nodes), Serial: d.Serial, Model: d.Model, WWN: d.WWN, Firmware: d.Firmware,
		Protocol: d.Protocol, Media: d.Media, Identity: d.Identity,
		SizeBytes: d.SizeBytes, LogicalBlock: d.LogicalBlock, PhysicalBlock: d.PhysicalBlock,
		PowerOnHours: d.PowerOnHours, Fabric: d.Fabric, PartitionTable: partitionTable, Unallocated: d.Unallocated, Zones: d.Zones, Areas: slices.Clone(d.Areas),
		Scope: scopeOf(d), Method: method, Scheme: r.Scheme, Approvals: rules.Approvals(judged.list),
		Verification: verify, Rejected: []Rejected{}, Excludes: []devices.Reason{}, Notes: slices.Clone(d.Notes),
	}
	if _, untold := d.Lack(devices.ReasonZonesUntold); d.Zoning == devices.HostAware && !untold {
		plan.Zoning = d.Zoning
	}
	weighed := weigh(method, d, r, p)
	for _, w := range weighed {
		switch w.Verdict {
		case Chosen:
			plan.Technique = w.Technique
		case NotUsable:
			plan.Rejected = append(plan.Rejected, Rejected{w.Technique, w.Code, w.Message})
		}
	}
	if plan.Technique == "" {
		refusal := cannot(d, method, r, p, plan.Rejected)
		if least, by := rules.MinMethod(judged.list); r.Method == "" && Method(least) == method {
			refusal.Reasons = append(refusal.Reasons, devices.Reason{Code: "min_method", Message: fmt.Sprintf("rule %s asks for %s%s", by.Name, least, because(by))})
		}
		return DrivePlan{}, refusal
	}
	for _, n := range d.Namespaces {
		ns := planned(n)
		plan.Namespaces = append(plan.Namespaces, ns)
		plan.SizeBytes -= n.SizeBytes - ns.SizeBytes // zones are attached: they were read
	}
	for _, u := range d.Units {
		plan.Units = append(plan.Units, Unit{u.LUN, u.SizeBytes, u.LogicalBlock})
	}
	for _, a := range d.Hidden {
		if !a.Locked {
			plan.Restore = append(plan.Restore, a)
		}
	}
	row := p.on(d).Rows[0]
	plan.Excludes, plan.RestsOn = excludes(d, plan.Technique, r), append(restsOn(d, plan.Technique), p.restsOn(d, method, plan.Technique)...)
	if plan.Technique != HostOverwrite {
		r.Verify = verify
		plan.Operations, plan.Leaves = operations(plan.Technique, d, r), leaves(plan.Technique, d)
		plan.BlocksBarred = blocksBarred(d)
		if r.BlockSize != d.LogicalBlock {
			plan.Reformat = r.BlockSize
		}
		if !provable(plan.Technique, d, verify) {
			works := func(other Request) bool {
				_, err := decide(d, partitionTable, other, p, judged, already)
				return err == nil
			}
			return plan, unprovable(plan.Technique, d, r, p, works)
		}
		return plan, nil
	}
	if r.Scheme == "" && row.Scheme != "" {
		r.Pattern, r.Scheme, plan.Scheme = "", row.Scheme, row.Scheme
	}
	plan.Excludes = append(plan.Excludes, row.Beside...)
	plan.Passes, err = passesOf(r)
	return plan, err
}

// choosable says why a drive as it is must not be touched.
func choosable(d devices.Drive, r Request) error {
	reasons := slices.DeleteFunc(slices.Clone(d.Reasons), func(x devices.Reason) bool {
		return r.AllowFabric && x.Code == "fabric" || r.Technique == TCGRevert && (x.Code == devices.ReasonTCGLocked || x.Code == devices.ReasonShadowMBR)
	})
	if len(reasons) > 0 {
		return &Refusal{Reasons: reasons}
	}
	overlooked := len(d.Reasons) > 0 && d.State == devices.StateBlocked
	if d.State != devices.StateReady && !overlooked {
		return refuse("undetermined", fmt.Sprintf("the drive is %s", d.State), "run: expunge show "+d.Serial)
	}
	if d.ReadOnly {
		return refuse("read_only", "the drive is write-protected", "remove the write protection, then list again")
	}
	untold := slices.ContainsFunc(d.Namespaces, func(n devices.Namespace) bool { return n.Zoned && n.Zones.Count == 0 })
	if untold || d.Zoning == devices.HostManaged && d.Zones.Count == 0 {
		return refuse(devices.ReasonZonesUnknown, "the drive does not tell its zones, as when an earlier sanitize of it has failed",
			"where that sanitize was unrestricted: expunge recover "+d.Serial+" --exit-failure-mode; else destroy the drive")
	}
	block := d.LogicalBlock
	if block < 512 || block > 1<<16 || d.SizeBytes < int64(block) || d.SizeBytes%int64(block) != 0 {
		return refuse("geometry", fmt.Sprintf("%d bytes in blocks of %d are no size of a drive", d.SizeBytes, block), "")
	}
	return nil
}

// blocksBarred says whether nothing can be read or written before the drive erased itself.
func blocksBarred(d devices.Drive) bool {
	return d.TCG != nil && d.TCG.Shut() || d.FormatFailed || d.Sanitize != nil && d.Sanitize.State == devices.SanitizeFailed
}

// provable says whether a technique can end as anything but unproven: with nothing marked before, it must leave a value that is known.
func provable(t Technique, d devices.Drive, v VerifyMode) bool {
	if t == HostOverwrite || v == VerifyStatus || !blocksBarred(d) {
		return true
	}
	left := leaves(t, d)
	return left == devices.ReadsConstant || left == devices.ReadsZeros
}

// unprovable refuses what could end as nothing but unproven, and says what of the request to change, so that it works: another technique
// that is proven, or that the drive's word is taken, where the policy takes that.
func unprovable(t Technique, d devices.Drive, r Request, p Policy, works func(Request) bool) error {
	for _, technique := range Techniques() {
		other := r
		other.Technique, other.TCG = technique, ""
		if provable(technique, d, r.Verify) && works(other) {
			hint := "ask for --technique " + technique.Word()
			if r.TCG != "" {
				hint += ", without --tcg"
			}
			return refuse(notProvable, nothingToCompare(t), hint+", and the rest as before")
		}
	}
	other := r
	other.Verify = VerifyStatus
	if works(other) {
		return refuse(notProvable, nothingToCompare(t), "ask for --verify status, which takes the drive's word: nothing is proven")
	}
	return refuse(notProvable, nothingToCompare(t), fmt.Sprintf("nothing that is asked for can be proven of this drive, and policy %s does not take its word (--verify status): destroy it, and record that: "+
		"expunge destroy record %s", p.Name, d.Serial))
}

// notProvable is why a technique is not used that could end as nothing but unproven.
const notProvable = "not_provable"

func nothingToCompare(t Technique) string {
	return fmt.Sprintf("an earlier erase failed or the drive is locked, so nothing can be marked before, and after %s alone there is nothing to compare", t)
}

// cannot makes the refusal that says what would reach the method.
func cannot(d devices.Drive, m Method, r Request, p Policy, rejected []Rejected) *Refusal {
	refusal := &Refusal{Cannot: !possibleOtherwise(m, d, r, p)}
	what, under := string(m), ""
	if r.Technique != "" {
		what = fmt.Sprintf("%s by %s", m, r.Technique)
	}
	hint := "purge needs a command of the drive itself (sanitize: cryptographic erase, block erase or drive overwrite): " +
		"attach the drive where its own commands can be sent, or destroy it"
	own, notSent := d.NotSent()
	if notSent && m == Purge {
		hint = own.Hint
	}
	if m == Clear {
		hint = "what keeps each technique away is said with it; expunge show " + d.Serial + " says what can be done about it"
	}
	for _, x := range rejected {
		if lack, is := d.Lack(x.Code); is && lack.Hint != "" {
			hint = lack.Hint
			break
		}
	}
	if code, _ := unfit(HostOverwrite, Clear, d, Request{}, p.on(d)); code == "" && m == Purge {
		hint += "; --method clear --technique host-overwrite is possible here"
	}
	if !refusal.Cannot {
		under = " under policy " + p.Name
		hint = "the drive could do it, and the policy does not allow it: expunge policy explain " + d.Serial + " says what the policy takes"
	}
	first := devices.Reason{Code: "method_not_reached", Message: fmt.Sprintf("no technique reaches %s on %s %s%s", what, d.Model, d.Serial, under), Hint: hint}
	if notSent && m == Purge {
		first.Code, first.Message = own.Code, first.Message+": it is "+own.Message
	}
	refusal.Reasons = append(refusal.Reasons, first)
	for _, x := range rejected {
		if r.Technique != "" && x.Code == "not_asked" || r.Technique == "" && notSent && x.Code == "other_protocol" {
			continue // the first reason says it
		}
		refusal.Reasons = append(refusal.Reasons, devices.Reason{Code: x.Code, Message: fmt.Sprintf("%s: %s", x.Technique, x.Message)})
	}
	return refusal
}

func scopeOf(d devices.Drive) Scope {
	if d.Identity == devices.IdentityDrive {
		return ScopeDevice
	}
	return ScopeLogical
}
