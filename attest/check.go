package attest

import (
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"time"
)

// The words that a statement may use. Anything else is refused, by the signer and the verifier.
var (
	outcomes   = []string{"sanitized", "exceptions", "failed", "unproven", "interrupted", "unknown", "refused"}
	methods    = []string{"clear", "purge", "destroy"}
	techniques = []string{"host overwrite", "drive overwrite", "block erase", "cryptographic erase", "cryptographic erase followed by block erase",
		"enhanced security erase", "security erase", "cryptographic format", "format", "TCG revert"}
	clearing = []string{"host overwrite", "security erase", "format"} // reach clear at most, but for a format of an NVMe drive
	scopes   = []string{"device", "logical"}
	modes    = []string{"status", "sampled", "full"}
	results  = []string{"passed", "failed", "incomplete", "none"}
)

// rule is a fact that must hold, and what is wrong when it does not.
type rule struct {
	holds bool
	wrong string
}

func checkRules(rules []rule) error {
	for _, r := range rules {
		if !r.holds {
			return errors.New(r.wrong)
		}
	}
	return nil
}

func isHash(s string) bool {
	b, err := hex.DecodeString(s)
	return err == nil && len(b) == 32 && hex.EncodeToString(b) == s
}

func isASCII(words ...string) bool {
	return !slices.ContainsFunc(words, func(s string) bool {
		return slices.ContainsFunc([]byte(s), func(c byte) bool { return c < 0x20 || c > 0x7e })
	})
}

func isTime(s string) bool {
	t, err := time.Parse(time.RFC3339, s)
	return err == nil && t.UTC().Format(time.RFC3339) == s
}

func optional(s string, ok func(string) bool) bool { return s == "" || ok(s) }

func (d Device) check() error {
	return checkRules([]rule{
		{d.Serial != "" || d.WWN != "", "the device has neither serial nor WWN"},
		{isASCII(append([]string{d.Model, d.Serial, d.WWN, d.Firmware, d.Protocol, d.Media, d.Fabric}, d.Nodes...)...), "the device's words are not printable ASCII"},
		{d.Identity == "drive" || d.Identity == "host-local", "the device's identity is vouched for by nobody"},
		{d.Protocol != "" && d.Media != "", "the device's protocol or media is missing"},
		{d.SizeBytes > 0 && d.LogicalBlockBytes > 0 && d.SizeBytes%d.LogicalBlockBytes == 0, "the device's size is not whole blocks"},
		{d.PowerOnHours == nil || *d.PowerOnHours >= 0, "the device's power-on hours are negative"},
		{d.Nodes != nil, "the device's nodes are missing"},
		{d.Zones.possible(d.SizeBytes), "the device's zones do not add up to it"},
		{!slices.ContainsFunc(d.Namespaces, func(n Namespace) bool { return !n.possible() }), "a namespace is impossible"},
	})
}

func common(d Device, scope, job, plan string, p Policy, a Agent, t Time, disposition, category string) error {
	if err := d.check(); err != nil {
		return err
	}
	return checkRules([]rule{
		{slices.Contains(scopes, scope), "the scope is unknown"},
		{d.Identity == "drive" || scope == "logical", "a device whose identity is the host's word has logical scope"},
		{job != "" && isASCII(job), "the job is missing"},
		{isHash(plan), "the plan's digest is not one"},
		{p.Name != "" && isHash(p.SHA256), "the policy is missing"},
		{a.Name != "" && a.Version != "", "the agent is missing"},
		{isTime(t.Claimed) && t.Source != "", "the time is not UTC in seconds"},
		{slices.Contains([]string{"", "reuse", "decommission"}, disposition), "the disposition is unknown"},
		{slices.Contains([]string{"", "low", "moderate", "high"}, category), "the category is unknown"},
	})
}

func planned(protocol, method, technique string) []rule {
	return []rule{
		{slices.Contains(methods[:2], method), "the method is none that a host can carry out"},
		{slices.Contains(techniques, technique), "the technique is unknown"},
		{!slices.Contains(clearing, technique) || technique == "format" && protocol == "nvme" || method == "clear", "the technique reaches clear at most"},
		{technique != "cryptographic format" || protocol == "nvme", "the technique is one of NVMe drives"},
	}
}

// check says what in the intent contradicts itself.
func (i Intent) check() error {
	if err := common(i.Device, i.Scope, i.Job, i.PlanSHA256, i.Policy, i.Agent, i.Time, i.Disposition, i.Category); err != nil {
		return err
	}
	return checkRules(append(planned(i.Device.Protocol, i.Method, i.Technique),
		rule{slices.Contains(modes, i.Verification), "the verification is unknown"},
		rule{optional(i.PreviousLeaf, isHash), "the previous leaf is not a hash"},
		rule{i.Attempt >= 1 && (i.Attempt == 1 || i.PreviousLeaf != ""), "the attempt does not fit what came before it"},
	))
}

// check says what in the result contradicts itself. A certificate of a drive that holds data can
// not be turned into one of a clean drive by any single field.
func (r Result) check() error {
	if err := common(r.Device, r.Scope, r.History.Job, r.Evidence.PlanSHA256, r.Policy, r.Agent, r.Time, r.Disposition, r.Category); err != nil {
		return err
	}
	if err := r.Given.check(); err != nil {
		return err
	}
	s, o, v := r.Sanitization, r.Outcome, r.Verification
	done := o.Status == "sanitized" || o.Status == "exceptions"
	return errors.Join(checkRules(append(planned(r.Device.Protocol, s.Method, s.Technique),
		rule{slices.Contains(outcomes, o.Status), "the outcome is unknown"},
		rule{done == (o.Method != ""), "a method is achieved exactly when the drive is sanitized"},
		rule{o.Method == "" || o.Method == s.Method, "the method achieved is not the one planned"},
		rule{(o.Status == "sanitized") == (o.Reason == ""), "an outcome has a reason exactly when it is not sanitized"},
		rule{s.Passes != nil && s.Excludes != nil && o.Exceptions != nil && r.Signers != nil, "a list is missing"},
		rule{s.Attempts >= 0 && s.Interruptions >= 0 && s.Interruptions <= s.Attempts && s.BytesWritten >= 0, "a count is impossible"},
		rule{!done || s.Attempts > 0, "nothing was attempted"},
		rule{optional(s.Started, isTime) && optional(s.Finished, isTime) && (s.Started == "") == (s.Finished == ""), "a time is not UTC in seconds"},
		rule{!done || s.Started != "", "the times of the work are missing"},
		rule{isHash(r.Evidence.JournalSHA256) && r.Evidence.JournalRecords > 0, "the evidence is missing"},
		rule{optional(r.Evidence.BundleSHA256, isHash) && (r.Evidence.BundleSHA256 != "") == (r.Evidence.BundleBytes > 0) && r.Evidence.BundleBytes >= 0, "the evidence bundle is not pinned"},
		rule{isHash(r.History.IntentLeaf) && r.History.IntentIndex >= 0, "the intent is missing"},
		rule{slices.Contains(modes, v.Mode) && slices.Contains(results, v.Result), "the verification is unknown"},
	)), r.checkExceptions(), r.checkPasses(done), r.checkOperations(done), r.checkCommands(), r.checkReshaped(), r.checkHiddenAreas(done), r.checkVerification(done))
}

func (r Result) checkExceptions() error {
	o := r.Outcome
	var listed int64
	for _, e := range o.Exceptions {
		if e.Kind != "write error" && e.Kind != "read error" || e.Offset < 0 || e.Length <= 0 || e.Length > r.Device.SizeBytes-e.Offset {
			return fmt.Errorf("exception %s %d+%d is impossible", e.Kind, e.Offset, e.Length)
		}
		listed += e.Length
	}
	return checkRules([]rule{
		{o.ExceptionsOmitted >= 0 && listed <= o.ExceptionBytes && (o.ExceptionsOmitted > 0) == (listed < o.ExceptionBytes), "the exceptions do not add up"},
		{o.Status != "sanitized" || o.ExceptionBytes == 0, "sanitized with exceptions is not sanitized"},
		{o.Status != "exceptions" || o.ExceptionBytes > 0, "exceptions without one"},
	})
}

func (r Result) checkPasses(done bool) error {
	var bytes int64
	for i, p := range r.Sanitization.Passes {
		random := p.Pattern == "random"
		if err := checkRules([]rule{
			{p.Pass == int64(i)+1 && p.Pattern != "", "the passes are not in order"},
			{random == (p.KeySHA256 != "") && optional(p.KeySHA256, isHash), "a keystream's key is not pinned"},
			{p.Bytes >= 0 && p.Bytes <= r.Device.SizeBytes, "a pass wrote more than the drive holds"},
			{!done || p.Complete, "a pass is not complete"},
			{r.Outcome.Status != "sanitized" || p.Bytes == r.Device.SizeBytes, "a pass did not write the whole drive"},
		}); err != nil {
			return err
		}
		bytes += p.Bytes
	}
	overwrite := r.Sanitization.Technique == "host overwrite"
	return checkRules([]rule{
		{bytes == r.Sanitization.BytesWritten, "the bytes written do not add up"},
		{!done || !overwrite || bytes > 0, "an overwrite wrote nothing"},
	})
}

func (r Result) checkVerification(done bool) error {
	v, size := r.Verification, r.Device.SizeBytes
	read, byHost := v.Mode != "status", r.Sanitization.Technique == "host overwrite"
	blank, block := v.UnwrittenBlocks, max(1, r.Device.LogicalBlockBytes)
	return checkRules([]rule{
		{v.Samples >= 0 && v.Bytes >= 0 && v.Bytes <= size && v.CoveragePPM >= 0 && v.CoveragePPM <= 1_000_000 && v.Mismatches >= 0 && v.ReadErrors >= 0, "a number of the verification is impossible"},
		{blank >= 0 && blank <= (size-v.Bytes)/block, "more blocks were read or left unwritten than the drive has"},
		{v.CoveragePPM == 0 || v.Bytes > 0, "a share without bytes was read"},
		{read || v.Result == "none", "a verification by status alone reads nothing"},
		{!done || v.Mismatches == 0, "blocks do not hold what was written"},
		{!done || !read || v.Result == "passed", "the verification was not passed"},
		{v.Result != "passed" || v.Samples > 0 && v.Bytes > 0 && v.Expected != "", "a verification was passed without numbers"},
		{v.Result != "passed" || v.Mismatches == 0, "a verification was passed with mismatches"},
		{v.Result != "passed" || v.Mode != "sampled" || optional(v.Seed, isHash) && v.Seed != "" && v.PRNG != "" && (v.ReadErrors+blank == 0 || !byHost), "samples cannot be drawn again"},
		{r.Outcome.Status != "sanitized" || v.ReadErrors+blank == 0 || !byHost, "sanitized with read errors is not sanitized"},
		{r.Outcome.Status != "sanitized" || blank == 0 || v.Bytes/block >= blank, "sanitized with most blocks above write pointers is not sanitized"},
		{r.Outcome.Status != "sanitized" || v.Mode != "full" || !byHost && 2*v.Bytes >= size || v.Bytes == size && v.CoveragePPM == 1_000_000, "a full verification did not read the whole drive"},
	})
}
