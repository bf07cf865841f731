package render

import (
	"strconv"

	"github.com/expunge-dev/expunge/attest"
)

// column is one of a register's, which are fixed: new ones are added at the end.
type column struct {
	name  string
	value func(f *Form, r attest.Result) any // string, int64 or bool; nil where there is nothing
}

func text(get func(r attest.Result) string) func(*Form, attest.Result) any {
	return func(_ *Form, r attest.Result) any { return said(get(r)) }
}

func number(get func(r attest.Result) int64) func(*Form, attest.Result) any {
	return func(_ *Form, r attest.Result) any { return get(r) }
}

func given(get func(g *attest.Given) string) func(*Form, attest.Result) any {
	return func(_ *Form, r attest.Result) any {
		if r.Given == nil {
			return nil
		}
		return said(get(r.Given))
	}
}

func operator(get func(p *attest.Person) string) func(*Form, attest.Result) any {
	return given(func(g *attest.Given) string {
		if g.Operator == nil {
			return ""
		}
		return get(g.Operator)
	})
}

func said(s string) any {
	if s == "" {
		return nil
	}
	return s
}

// columns are documented in docs/forms.md. The first is "serial", so that a register of drives can be
// held against certificates again.
var columns = []column{
	{"serial", text(func(r attest.Result) string { return r.Device.Serial })},
	{"model", text(func(r attest.Result) string { return r.Device.Model })},
	{"wwn", text(func(r attest.Result) string { return r.Device.WWN })},
	{"firmware", text(func(r attest.Result) string { return r.Device.Firmware })},
	{"protocol", text(func(r attest.Result) string { return r.Device.Protocol })},
	{"media", text(func(r attest.Result) string { return r.Device.Media })},
	{"size_bytes", number(func(r attest.Result) int64 { return r.Device.SizeBytes })},
	{"drive_id", text(func(r attest.Result) string { return r.Device.DriveID() })},
	{"scope", text(func(r attest.Result) string { return r.Scope })},
	{"simulated", func(_ *Form, r attest.Result) any { return r.Simulated }},
	{"outcome", text(func(r attest.Result) string { return r.Outcome.Status })},
	{"words", func(f *Form, _ attest.Result) any { return f.words() }},
	{"method", text(func(r attest.Result) string { return r.Outcome.Method })},
	{"reason", text(func(r attest.Result) string { return r.Outcome.Reason })},
	{"exception_bytes", number(func(r attest.Result) int64 { return r.Outcome.ExceptionBytes })},
	{"method_planned", text(func(r attest.Result) string { return r.Sanitization.Method })},
	{"technique", text(func(r attest.Result) string { return r.Sanitization.Technique })},
	{"scheme", text(func(r attest.Result) string { return r.Sanitization.Scheme })},
	{"policy", text(func(r attest.Result) string { return r.Policy.Name })},
	{"policy_sha256", text(func(r attest.Result) string { return r.Policy.SHA256 })},
	{"standard", text(func(r attest.Result) string { return r.Policy.Standard })},
	{"disposition", text(func(r attest.Result) string { return r.Disposition })},
	{"category", text(func(r attest.Result) string { return r.Category })},
	{"verification", text(func(r attest.Result) string { return r.Verification.Mode })},
	{"verification_result", text(func(r attest.Result) string { return r.Verification.Result })},
	{"coverage_ppm", number(func(r attest.Result) int64 { return r.Verification.CoveragePPM })},
	{"mismatches", number(func(r attest.Result) int64 { return r.Verification.Mismatches })},
	{"read_errors", number(func(r attest.Result) int64 { return r.Verification.ReadErrors })},
	{"attempts", number(func(r attest.Result) int64 { return r.Sanitization.Attempts })},
	{"interruptions", number(func(r attest.Result) int64 { return r.Sanitization.Interruptions })},
	{"started", text(func(r attest.Result) string { return r.Sanitization.Started })},
	{"finished", text(func(r attest.Result) string { return r.Sanitization.Finished })},
	{"signed", text(func(r attest.Result) string { return r.Time.Claimed })},
	{"agent_version", text(func(r attest.Result) string { return r.Agent.Version })},
	{"job", text(func(r attest.Result) string { return r.History.Job })},
	{"given_operator", operator(func(p *attest.Person) string { return p.Name })},
	{"given_operator_title", operator(func(p *attest.Person) string { return p.Title })},
	{"given_operator_organization", operator(func(p *attest.Person) string { return p.Organization })},
	{"given_operator_location", operator(func(p *attest.Person) string { return p.Location })},
	{"given_operator_contact", operator(func(p *attest.Person) string { return p.Contact })},
	{"given_organization", given(func(g *attest.Given) string { return g.Organization })},
	{"given_processor", given(func(g *attest.Given) string { return g.Processor })},
	{"given_site", given(func(g *attest.Given) string { return g.Site })},
	{"given_location", given(func(g *attest.Given) string { return g.Location })},
	{"given_asset_tag", given(func(g *attest.Given) string { return g.AssetTag })},
	{"given_source", given(func(g *attest.Given) string { return g.Source })},
	{"given_lot", given(func(g *attest.Given) string { return g.Lot })},
	{"given_ticket", given(func(g *attest.Given) string { return g.Ticket })},
	{"given_custody", given(func(g *attest.Given) string { return g.Custody })},
	{"given_received", given(func(g *attest.Given) string { return g.Received })},
	{"given_seal", given(func(g *attest.Given) string { return g.Seal })},
	{"given_condition", given(func(g *attest.Given) string { return g.Condition })},
	{"given_backed_up", given(func(g *attest.Given) string { return g.BackedUp })},
	{"given_destination", given(func(g *attest.Given) string { return g.Destination })},
	{"given_destination_details", given(func(g *attest.Given) string { return g.Details })},
	{"given_notes", given(func(g *attest.Given) string { return g.Notes })},
	{"certificate_sha256", func(f *Form, _ attest.Result) any { return f.digest }},
	{"keyid", func(f *Form, _ attest.Result) any { return f.report.KeyID }},
	{"log_origin", func(f *Form, _ attest.Result) any { return f.report.LogOrigin }},
	{"log_index", func(f *Form, _ attest.Result) any { return f.report.LogIndex }},
	{"log_size", func(f *Form, _ attest.Result) any { return f.report.LogSize }},
	{"plan_sha256", text(func(r attest.Result) string { return r.Evidence.PlanSHA256 })},
	{"journal_sha256", text(func(r attest.Result) string { return r.Evidence.JournalSHA256 })},
	{"standing", func(f *Form, _ attest.Result) any { return said(f.standing()) }},
}

// plainText is a value as a cell has it.
func plainText(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case int64:
		return strconv.FormatInt(v, 10)
	case bool:
		return strconv.FormatBool(v)
	}
	return ""
}
