package attest

import (
	"fmt"
	"strings"
	"testing"
	"testing/fstest"
)

// What somebody with the keys can log past the rules of the Issuer is found by the audit.
func TestAuditOfForgedRecords(t *testing.T) {
	id := func(serial string) string { return testDevice(serial).DriveID() }
	accept := func(is Issuer, of ResultAt, by *Key) Validation {
		return Validation{Agent: is.Run.Agent, By: Person{Name: "A"}, Decision: Accept, Device: Name("virtio disk", "B", ""), Recommendation: Recommendation{Accept, []string{}}, Result: of, Signers: []string{by.ID}, Time: is.time()}
	}
	manifest := func(is Issuer, drives ...ManifestDrive) Manifest {
		m := testManifest("j", drives...)
		m.Agent, m.Time = is.Run.Agent, is.time()
		return m
	}
	for name, c := range map[string]struct {
		forge func(is Issuer, t *tree) error
		want  string
	}{
		"accepts a failure as if it were none": {func(is Issuer, t *tree) error {
			of := resultIn(is, t, id("B"))
			of.Status = "sanitized"
			if err := is.Log.keepPublicKey(testKey(9, RoleValidator).Public); err != nil {
				return err
			}
			_, _, err := addStatement(t, ValidationType, accept(is, of, testKey(9, RoleValidator)), testKey(9, RoleValidator), leaf{Kind: kindValidation, Drive: id("B"), Job: "j"})
			return err
		}, "accepted_not_sanitized record_mismatch validation_withheld"},
		"validates itself": {func(is Issuer, t *tree) error {
			of := resultIn(is, t, id("A"))
			v := accept(is, of, is.Key)
			v.Device = Name("virtio disk", "A", "")
			_, _, err := addStatement(t, ValidationType, v, is.Key, leaf{Kind: kindValidation, Drive: id("A"), Job: "j"})
			return err
		}, "validator_not_independent validation_withheld"},
		"a manifest that calls a failure sanitized": {func(is Issuer, t *tree) error {
			a, b := resultIn(is, t, id("A")), resultIn(is, t, id("B"))
			b.Status = "sanitized"
			_, err := forged(is, t, ManifestType, manifest(is, ManifestDrive{Serial: "A", Became: "sanitized", Result: &a}, ManifestDrive{Serial: "B", Became: "sanitized", Result: &b}), leaf{Kind: kindManifest, Job: "j"})
			return err
		}, "manifest_mismatch record_missing"},
		"a manifest that leaves a failure out": {func(is Issuer, t *tree) error {
			a := resultIn(is, t, id("A"))
			_, err := forged(is, t, ManifestType, manifest(is, ManifestDrive{Serial: "A", Became: "sanitized", Result: &a}), leaf{Kind: kindManifest, Job: "j"})
			return err
		}, "manifest_mismatch record_missing"},
		"a manifest that calls a failure not selected": {func(is Issuer, t *tree) error {
			a := resultIn(is, t, id("A"))
			_, err := forged(is, t, ManifestType, manifest(is, ManifestDrive{Serial: "A", Became: "sanitized", Result: &a}, ManifestDrive{Serial: "B", Became: NotSelected}), leaf{Kind: kindManifest, Job: "j"})
			return err
		}, "manifest_mismatch record_missing"},
		"two manifests": {func(is Issuer, t *tree) error {
			a, b := resultIn(is, t, id("A")), resultIn(is, t, id("B"))
			for range 2 {
				if _, err := forged(is, t, ManifestType, manifest(is, ManifestDrive{Serial: "A", Became: "sanitized", Result: &a}, ManifestDrive{Serial: "B", Became: "failed", Result: &b}), leaf{Kind: kindManifest, Job: "j"}); err != nil {
					return err
				}
			}
			return nil
		}, "manifest_repeated record_missing record_missing"},
		"a withdrawal of another's result": {func(is Issuer, t *tree) error {
			s := Supersession{Agent: is.Run.Agent, Device: Name("virtio disk", "A", ""), Reason: "r", Result: resultIn(is, t, id("B")), Time: is.time(), Withdrawn: true}
			_, err := forged(is, t, SupersessionType, s, leaf{Kind: kindSupersession, Drive: id("A"), Job: "j"})
			return err
		}, "record_mismatch supersession_withheld"},
		"a destruction that closes what is not there": {func(is Issuer, t *tree) error {
			d := testDestruction("A")
			of := resultIn(is, t, id("B"))
			d.Agent, d.Time, d.Method, d.Known, d.Closes = is.Run.Agent, is.time(), "destroy", true, []ResultAt{of}
			_, err := forged(is, t, DestructionType, d, leaf{Kind: kindDestruction, Drive: id("A")})
			return err
		}, "record_mismatch record_missing"},
	} {
		t.Run(name, func(t *testing.T) {
			is := testIssuer(t, testKey(1, RoleHost))
			certificates := fstest.MapFS{"A.json": {Data: mustIssue(t, is, "A", "j")}}
			bad, err := issue(t, is, "B", "j", failed)
			if err != nil {
				t.Fatal(err)
			}
			certificates["B.json"] = &fstest.MapFile{Data: bad}
			if err := is.Log.update(func(t *tree) error { return c.forge(is, t) }); err != nil {
				t.Fatal(err)
			}
			a, err := auditOfResults(AuditInput{Log: filesOf(t, is.Log.dir), Certificates: certificates, Trust: trustIn(t, is.Key)})
			var codes []string
			for _, f := range a.Findings {
				codes = append(codes, f.Code)
			}
			if got := strings.Join(codes, " "); err != nil || got != c.want {
				t.Errorf("%v: %s, want %s", err, got, c.want)
			}
		})
	}
}

func resultIn(is Issuer, t *tree, drive string) ResultAt {
	at, _, err := is.resultAt(t, "j", drive)
	if err != nil {
		return ResultAt{Job: fmt.Sprint(err)}
	}
	return at
}

// forged logs a statement without the rules of its kind's Issuer method.
func forged[P predicate](is Issuer, t *tree, kind string, p P, l leaf) (int64, error) {
	key, err := is.session(t)
	if err != nil {
		return 0, err
	}
	_, index, err := addStatement(t, kind, p, key, l)
	return index, err
}
