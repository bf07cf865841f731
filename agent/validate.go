package agent

import (
	"fmt"
	"slices"
	"strings"

	"github.com/expunge-dev/expunge/attest"
	"github.com/expunge-dev/expunge/devices"
	"github.com/expunge-dev/expunge/sanitize"
)

// Validate has a validator's key sign a judgement of a drive's certificate, and writes the certificate anew with it. A policy
// that is given must allow what is accepted. The error is an *attest.RecordError when it is refused.
func (a *Agent) Validate(job string, id devices.ID, r attest.Result, j attest.Judgement, key *attest.Key, policy *sanitize.Policy) (string, error) {
	if policy != nil {
		j.Policy = &attest.JudgedBy{Name: policy.Name, SHA256: policy.Digest()}
		if wrong := below(*policy, r); j.Decision == attest.Accept && len(wrong) > 0 {
			return "", &attest.RecordError{Code: "policy", Problem: fmt.Sprintf("policy %s does not allow this result: %s", policy.Name, strings.Join(wrong, "; ")), Hint: "--decision reject, or escalate"}
		}
	}
	is, err := a.issuer()
	if err != nil {
		return "", err
	}
	bundle, err := is.Validate(job, string(id), j, key)
	if err != nil {
		return "", err
	}
	return a.keepCertificate(job, id, bundle)
}

// below is in what a result is less than a policy asks for.
func below(p sanitize.Policy, r attest.Result) []string {
	var list []string
	wrong := func(is bool, format string, args ...any) {
		if is {
			list = append(list, fmt.Sprintf(format, args...))
		}
	}
	methods := []sanitize.Method{"", sanitize.Clear, sanitize.Purge, sanitize.Destroy}
	modes := []sanitize.VerifyMode{sanitize.VerifyStatus, sanitize.VerifySampled, sanitize.VerifyFull}
	method, technique := sanitize.Method(r.Outcome.Method), sanitize.Technique(r.Sanitization.Technique)
	want := p.Required[sanitize.Category(r.Category)][sanitize.Disposition(r.Disposition)]
	wrong(slices.Index(methods, want) > slices.Index(methods, method), "%s data for %s want %s, and %q was reached", r.Category, r.Disposition, want, method)
	least := p.AtLeast[method]
	wrong(least != "" && slices.Index(modes, least) > slices.Index(modes, sanitize.VerifyMode(r.Verification.Mode)), "it wants verification %s, and it was %s", least, r.Verification.Mode)
	media := sanitize.MediaOf(devices.Drive{Protocol: devices.Protocol(r.Device.Protocol), Identity: devices.Identity(r.Device.Identity), Media: devices.Media(r.Device.Media)})
	wrong(len(p.Media) > 0 && !slices.Contains(p.Media, media), "it does not cover media %s", media)
	at := slices.IndexFunc(p.Rows, func(row sanitize.Row) bool {
		return (row.Media == "" || row.Media == media) && (row.Bus == "" || row.Bus == devices.Protocol(r.Device.Protocol)) && (row.BelowBytes == 0 || r.Device.SizeBytes < row.BelowBytes)
	})
	if at < 0 {
		return append(list, "it has no rule for such drives")
	}
	row := p.Rows[at]
	reached := slices.Contains(row.Purge, technique) || method == sanitize.Clear && slices.Contains(row.Clear, technique)
	wrong(!reached, "%s does not reach %s on such drives", technique, method)
	wrong(slices.Contains(row.Forbid, technique), "%s is forbidden on such drives", technique)
	wrong(len(row.Demand) > 0 && !slices.Contains(row.Demand, technique), "another technique than %s is demanded", technique)
	wrong(row.Scheme != "" && technique == sanitize.HostOverwrite && row.Scheme != r.Sanitization.Scheme, "it wants scheme %s", row.Scheme)
	byKey := []sanitize.Technique{sanitize.CryptographicErase, sanitize.CryptographicFormat, sanitize.TCGRevert}
	known := slices.ContainsFunc(p.Acknowledged, func(k sanitize.Acknowledgement) bool {
		beginning, open := strings.CutSuffix(k.Model, "*")
		return k.Model == r.Device.Model || open && strings.HasPrefix(r.Device.Model, beginning)
	})
	wrong(p.CryptoDemanded && method == sanitize.Purge && slices.Contains(byKey, technique) && !known, "the conditions of cryptographic erase are not acknowledged for model %s", r.Device.Model)
	return list
}
