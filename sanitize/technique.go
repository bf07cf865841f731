package sanitize

import (
	"fmt"
	"slices"
	"strings"

	"github.com/expunge-dev/expunge/devices"
	"github.com/expunge-dev/expunge/devices/nvme"
)

// Technique is how a method is carried out.
type Technique string

// The techniques of house vocabulary, in the words of a certificate.
const (
	CryptoThenBlock    Technique = "cryptographic erase followed by block erase"
	CryptographicErase Technique = "cryptographic erase"
	BlockErase         Technique = "block erase"
	DriveOverwrite     Technique = "drive overwrite"
	SecurityErase      Technique = "security erase"
	Format             Technique = "format"
	TCGRevert          Technique = "TCG revert"
	HostOverwrite      Technique = "host overwrite"
)

// Techniques lists all of them, the strongest assurance first: two techniques that fail in
// different ways before either alone, a drive's own commands before what a host can do.
func Techniques() []Technique {
	return []Technique{CryptoThenBlock, CryptographicErase, BlockErase, DriveOverwrite, TCGRevert, SecurityErase, Format, HostOverwrite}
}

// short names that people type.
var techniqueNames = map[string]Technique{"crypto": CryptographicErase, "block": BlockErase, "crypto+block": CryptoThenBlock, "overwrite": HostOverwrite}

// techniqueByName finds a technique as people write it. The error is a *RequestError.
func techniqueByName(name string) (Technique, error) {
	plain := strings.ToLower(strings.ReplaceAll(name, "-", " "))
	if t, ok := techniqueNames[plain]; ok {
		return t, nil
	}
	at := slices.IndexFunc(Techniques(), func(t Technique) bool { return strings.EqualFold(string(t), plain) })
	if at < 0 {
		return "", &RequestError{"technique", name, "not one of crypto+block, crypto, block, " + list(Techniques())}
	}
	return Techniques()[at], nil
}

// Operation is one thing that the drive does by itself: a command, and what it must answer.
type Operation struct {
	Technique Technique `json:"technique"` // one, never a sequence
	Kind      Kind      `json:"kind"`
	Command   string    `json:"command"` // for people: "NVMe Sanitize, crypto erase"
	// Code is what the command is sent with: CDW10 of NVMe Sanitize, FEATURE and COUNT of ATA SANITIZE
	// DEVICE (16 bits each), 1 for an enhanced SECURITY ERASE UNIT, byte 1 of the CDB of SCSI SANITIZE,
	// the logical block length after FORMAT UNIT (0 leaves it).
	Code uint32 `json:"code"`
	Unit int    `json:"unit,omitempty"` // which of the drive's nodes takes it, from 0
	// EstimateSeconds is the drive's own, when the plan was made; nil where it has none.
	EstimateSeconds *int64 `json:"estimate_seconds,omitempty"`
}

// noDeallocate says whether the operation leaves blocks allocated (NDAS), so that reading back
// shows what is there.
func (o Operation) noDeallocate() bool { return o.Kind == NVMeSanitize && o.Code&cdw10NDAS != 0 }

// operations are the commands of a technique on a drive; none for what the host does.
func operations(t Technique, d devices.Drive, mode FailureMode) []Operation {
	s := d.Sanitize
	if s == nil {
		return nil
	}
	crypto := nvme.Sanitize{SANACT: nvme.CryptoErase, NDAS: s.NoDeallocate, AUSE: mode == Unrestricted, PREQ: s.PurgeRequired}
	block := nvme.Sanitize{SANACT: nvme.BlockErase, AUSE: mode == Unrestricted, PREQ: s.PurgeRequired}
	first, second := nvmeOperation(CryptographicErase, crypto, s.EstimateCrypto), nvmeOperation(BlockErase, block, s.EstimateBlock)
	switch t {
	case CryptoThenBlock:
		return []Operation{first, second}
	case CryptographicErase:
		return []Operation{first}
	case BlockErase:
		return []Operation{second}
	}
	return nil
}

// unfit says why a technique cannot reach the method on a drive.
func unfit(t Technique, m Method, d devices.Drive, mode FailureMode) (code, why string) {
	if t == HostOverwrite {
		return unfitOverwrite(m, d, mode)
	}
	switch d.Protocol {
	case devices.ProtocolNVMe:
	case devices.ProtocolATA, devices.ProtocolSCSI:
		return "not_in_this_version", fmt.Sprintf("this version of expunge sends no erasing command to %s drives", strings.ToUpper(string(d.Protocol)))
	default:
		return "no_command_door", "a command of the drive, and this node takes reads and writes only"
	}
	s := d.Sanitize
	needs := func(has bool, word string) (string, string) {
		switch {
		case d.Identity != devices.IdentityDrive:
			return "no_command_door", "a command of the drive, which cannot be asked what it is"
		case s == nil:
			return "not_supported", "the drive has no sanitize command"
		case !has:
			return "not_supported", "its sanitize command cannot do " + word
		case s.State == devices.SanitizeFailed && !s.Unrestricted && mode == Unrestricted:
			return "restricted_failure", "an earlier sanitize failed in restricted mode: only a restricted one can follow"
		}
		return "", ""
	}
	switch t {
	case CryptoThenBlock:
		return needs(s != nil && s.Crypto && s.Block, "both")
	case CryptographicErase:
		return needs(s != nil && s.Crypto, "a cryptographic erase")
	case BlockErase:
		return needs(s != nil && s.Block, "a block erase")
	}
	return "not_in_this_version", "this version of expunge does not carry it out"
}

func unfitOverwrite(m Method, d devices.Drive, mode FailureMode) (code, why string) {
	switch {
	case m != Clear:
		return "reaches_clear", "an overwrite by the host cannot reach spare and reallocated blocks (IEEE 2883-2022): clear at most"
	case len(d.Namespaces) > 1:
		return "namespaces", fmt.Sprintf("the drive has %d namespaces, and the host would overwrite one", len(d.Namespaces))
	case d.Sanitize != nil && d.Sanitize.State == devices.SanitizeFailed:
		return "sanitize_failed", "an earlier sanitize of the drive failed, and it may take no writes before another has succeeded"
	case mode != "":
		return "not_asked", "a failure mode was asked for, which belongs to what a drive does by itself"
	}
	return "", ""
}

// excludes lists what the technique leaves as it was.
func excludes(d devices.Drive, t Technique) []devices.Reason {
	if t != HostOverwrite {
		return []devices.Reason{{
			Code: "outside_sanitize",
			Message: "boot partitions, replay protected memory blocks, firmware, security credentials and the controller's own memory, " +
				"which an NVMe sanitize does not reach (NVMe base 2.3, 8.1.26)",
		}}
	}
	list := []devices.Reason{{
		Code:    "unaddressable",
		Message: "blocks that the host cannot address: spare, reallocated and over-provisioned ones, and areas hidden from the host",
	}}
	if d.Identity == devices.IdentityHost {
		list = append(list, devices.Reason{
			Code:    "behind_the_node",
			Message: "whatever holds the data behind this node (a file, a pool, another drive): only the logical device is overwritten",
		})
	}
	return list
}

// Reliance is the sentence of every certificate whose technique the drive carried out.
const Reliance = "that blocks which the host cannot read were erased rests on the drive's report of success"

// restsOn lists what the claim rests on that a host cannot prove.
func restsOn(d devices.Drive, t Technique) []devices.Reason {
	if t == HostOverwrite {
		return nil
	}
	list := []devices.Reason{{Code: "drive_report", Message: Reliance}}
	for _, n := range d.Namespaces {
		if !n.Attached {
			list = append(list, devices.Reason{Code: "namespace_not_read", Message: fmt.Sprintf(
				"namespace %d (%d bytes) is attached to no controller: its erase rests on the drive's report alone", n.NSID, n.SizeBytes)})
		}
	}
	if t == CryptographicErase {
		list = append(list, devices.Reason{Code: "cryptographic_erase", Message: "a cryptographic erase alone rests on the manufacturer's word (NIST SP 800-88r2, 3.2): " +
			"that all user data was always encrypted, by keys of at least 128 bits of strength and entropy, and that every copy of the key is destroyed"})
	}
	return list
}
