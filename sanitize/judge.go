package sanitize

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/expunge-dev/expunge/devices"
	"github.com/expunge-dev/expunge/sanitize/rules"
)

// Situation is what a policy's rules are told beside the drive and the request.
type Situation struct {
	Host      string    // identity of the agent's state
	Simulated bool      // a rack
	Drives    int       // that were asked for at once
	Now       time.Time // by the host's clock
}

// Rulings are what a policy's rules come to for one drive. The zero value is that of a policy without rules:
// under another a drive is refused with it.
type Rulings struct{ list []rules.Ruling }

// List is one ruling for each rule, in their order.
func (r Rulings) List() []rules.Ruling { return slices.Clone(r.list) }

// Judge judges the policy's rules for a drive. r must be Normal. A rule that cannot be judged, also since ctx
// has ended, is an error among the rulings, with which Choose refuses the drive.
func (p Policy) Judge(ctx context.Context, d devices.Drive, r Request, s Situation) Rulings {
	if p.set == nil {
		return Rulings{}
	}
	f := rules.Facts{Drive: driveFacts(d, s), Request: requestFacts(r), Now: s.Now.UTC()}
	f.Requester = rules.Requester{Name: r.Requester}
	if r.Requester != "" {
		f.Requester.Groups = append([]string{}, r.Groups...) // none is known, too
	}
	f.Host = rules.Host{ID: s.Host, Simulated: &s.Simulated}
	drives := int64(s.Drives)
	f.Plan = rules.Plan{Drives: &drives}
	if m, err := p.method(r); err == nil {
		f.Plan.Method = string(m)
	}
	return Rulings{p.set.Judge(ctx, f)}
}

// tightened is the method that is to be reached when the rules have spoken: what they demand where nothing was
// asked for, and never less than was. already is the method of a plan that is looked at again; "" of none.
func (p Policy) tightened(r Request, judged Rulings, already Method) (Method, error) {
	m, err := p.method(r)
	if err != nil || len(p.Rules) == 0 {
		return m, err
	}
	if err := p.denied(judged); err != nil {
		return "", err
	}
	word, by := rules.MinMethod(judged.list)
	least := Method(word)
	asked := r.Method
	if asked == "" && already != "" {
		asked, m = already, stronger(m, already)
	}
	switch {
	case least.rank() <= m.rank():
		return m, nil
	case asked != "":
		return "", refuse("method_too_low", fmt.Sprintf("rule %s asks for %s, not %s%s", by.Name, least, asked, because(by)), "plan it with --method "+string(least))
	}
	r.Method = least
	return p.method(r)
}

func stronger(a, b Method) Method {
	if a.rank() < b.rank() {
		return b
	}
	return a
}

// denied is the refusal by every rule that denies or could not be judged; nil where none does.
func (p Policy) denied(judged Rulings) error {
	refusal := &Refusal{}
	hint := "expunge policy explain says what each rule comes to"
	for _, j := range judged.list {
		switch j.Decision {
		case rules.Pass, rules.Approve, rules.AtLeast:
		case rules.Deny:
			refusal.Reasons = append(refusal.Reasons, devices.Reason{Code: "rule_denied", Message: fmt.Sprintf("rule %s: %s", j.Rule.Name, j.Rule.Why()), Hint: hint})
		default:
			refusal.Reasons = append(refusal.Reasons, devices.Reason{Code: "rule_error", Message: fmt.Sprintf("rule %s cannot be judged: %s", j.Rule.Name, j.Error), Hint: hint})
		}
	}
	if len(judged.list) != len(p.Rules) || !slices.EqualFunc(judged.list, p.Rules, func(j rules.Ruling, r rules.Rule) bool { return j.Rule == r }) {
		refusal.Reasons = append(refusal.Reasons, devices.Reason{Code: "rule_error", Message: fmt.Sprintf("the rules of policy %s were not judged", p.Name), Hint: hint})
	}
	if len(refusal.Reasons) == 0 {
		return nil
	}
	return refusal
}

func because(r rules.Rule) string {
	if r.Because == "" {
		return ""
	}
	return ": " + r.Because
}

// driveFacts is what rules are told of a drive. What is not certain is left out.
func driveFacts(d devices.Drive, s Situation) rules.Drive {
	f := rules.Drive{
		ID: string(d.ID), Serial: d.Serial, Model: d.Model, WWN: d.WWN, Firmware: d.Firmware, Identity: string(d.Identity),
		Protocol: unless(string(d.Protocol), string(devices.ProtocolUnknown)), Media: unless(string(MediaOf(d)), string(devices.MediaUnknown)),
		Bridge: orNone(d.Bridge), Fabric: orNone(d.Fabric),
		Size: positive(d.SizeBytes), Logical: positive(int64(d.LogicalBlock)), Physical: positive(int64(d.PhysicalBlock)), Hours: d.PowerOnHours,
		Nodes: append([]string{}, d.Nodes...), Notes: []string{}, Simulated: &s.Simulated,
	}
	if f.Media != "" {
		rotates := MediaOf(d) == devices.MediaMagnetic
		f.Rotates = &rotates
	}
	for _, n := range d.Notes {
		f.Notes = append(f.Notes, n.Code)
	}
	if d.Identity != devices.IdentityDrive || d.State == devices.StateUnreadable {
		return f
	}
	units := int64(max(1, len(d.Units)))
	f.Zoning, f.Units, f.Hidden = orNone(string(d.Zoning)), &units, hiddenBytes(d)
	if d.Protocol == devices.ProtocolNVMe {
		namespaces := int64(len(d.Namespaces))
		f.Namespaces, f.Controllers = &namespaces, append([]string{}, d.Controllers...)
		if told(d, devices.AreaUnallocated) {
			f.Unclaimed = &d.Unallocated
		}
	}
	return f
}

// told says whether the drive was asked for such an area and answered.
func told(d devices.Drive, kind devices.AreaKind) bool {
	return slices.ContainsFunc(d.Areas, func(a devices.Area) bool { return a.Kind == kind && a.State != devices.AreaUnknown })
}

// hiddenBytes is what a drive's own limits keep from the host; nil where it does not tell. Only ATA has them.
func hiddenBytes(d devices.Drive) *int64 {
	_, unknown := d.Lack(devices.ReasonHiddenUnknown)
	_, frozen := d.Lack(devices.ReasonHiddenFrozen)
	all := []devices.HiddenKind{devices.HostProtectedArea, devices.AccessibleMax, devices.Overlay}
	if unknown || frozen || d.Protocol == devices.ProtocolATA && slices.ContainsFunc(all, func(k devices.HiddenKind) bool { return !told(d, devices.AreaKind(k)) }) {
		return nil
	}
	var sum int64
	for _, h := range d.Hidden {
		sum += h.NativeBytes - h.FromBytes
	}
	return &sum
}

// requestFacts is what rules are told of a request: what was asked for, and nothing that policy chooses.
func requestFacts(r Request) rules.Request {
	f := rules.Request{
		Method: string(r.Method), Verify: string(r.Verify), Disposition: string(r.Disposition), Category: string(r.Category),
		Pattern: r.Pattern, Scheme: r.Scheme, FailureMode: string(r.FailureMode), TCG: string(r.TCG), BlockSize: positive(int64(r.BlockSize)), AllowFabric: &r.AllowFabric,
	}
	if r.Technique != "" {
		f.Technique = r.Technique.Word()
	}
	return f
}

func unless(s, unknown string) string {
	if s == unknown {
		return ""
	}
	return s
}

func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return s
}

func positive(n int64) *int64 {
	if n <= 0 {
		return nil
	}
	return &n
}
