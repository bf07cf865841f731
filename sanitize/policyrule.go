package sanitize

import (
	"slices"

	"github.com/expunge-dev/expunge/devices"
)

// rules puts the rows of the rules before those of the base.
func (f *PolicyFile) rules(p *Policy) error {
	var rows []Row
	for i := range f.Rules {
		path := at("rules", i)
		if f.Rules[i].conditional() {
			continue // conditions takes it
		}
		if err := f.Rules[i].normal(path, f.Media); err != nil {
			return err
		}
		if j := slices.IndexFunc(f.Rules[:i], func(earlier PolicyRule) bool { return !earlier.conditional() && earlier.covers(f.Rules[i]) }); j >= 0 {
			return wrong(path, "never used: rule %d is about all of these drives, and comes first", j+1)
		}
		own := narrowed(p.Rows, f.Rules[i].Media, f.Rules[i].Bus)
		if err := f.Rules[i].possible(path, own, f.Base); err != nil {
			return err
		}
		left := false
		for j := range own {
			var err error
			if own[j], err = f.Rules[i].change(path, own[j], f.Base); err != nil {
				return err
			}
			left = left || len(own[j].Purge)+len(own[j].Clear) > 0
		}
		if !left {
			return wrong(path, "no technique is left for the drives that it is about")
		}
		rows = append(rows, own...)
	}
	p.Rows = distinct(append(rows, p.Rows...))
	return nil
}

// narrowed is every row that is about the drives that are named, for those alone.
func narrowed(rows []Row, media []devices.Media, bus []devices.Protocol) []Row {
	if len(media) == 0 {
		media = []devices.Media{""}
	}
	if len(bus) == 0 {
		bus = []devices.Protocol{""}
	}
	var own []Row
	for _, m := range media {
		for _, b := range bus {
			for _, r := range rows {
				if m != "" && r.Media != "" && m != r.Media || b != "" && r.Bus != "" && b != r.Bus {
					continue
				}
				if m != "" {
					r.Media = m
				}
				if b != "" {
					r.Bus = b
				}
				own = append(own, r)
			}
		}
	}
	return own
}

// distinct leaves out rows that an earlier one covers.
func distinct(rows []Row) []Row {
	var list []Row
	for _, r := range rows {
		if !slices.ContainsFunc(list, func(e Row) bool {
			return (e.Media == "" || e.Media == r.Media) && (e.Bus == "" || e.Bus == r.Bus) && (e.BelowBytes == 0 || r.BelowBytes != 0 && r.BelowBytes <= e.BelowBytes)
		}) {
			list = append(list, r)
		}
	}
	return list
}

// covers says whether the rule is about all the drives that another is about.
func (r PolicyRule) covers(other PolicyRule) bool {
	return within(r.Media, other.Media) && within(r.Bus, other.Bus)
}

func within[T comparable](all, some []T) bool {
	return len(all) == 0 || len(some) > 0 && !slices.ContainsFunc(some, func(v T) bool { return !slices.Contains(all, v) })
}

// normal checks the words of a rule and spells techniques in one way.
func (r *PolicyRule) normal(path []any, covered []devices.Media) error {
	if err := known(append(slices.Clone(path), "media"), r.Media, mediaKinds); err != nil {
		return err
	}
	if err := known(append(slices.Clone(path), "bus"), r.Bus, buses); err != nil {
		return err
	}
	if len(covered) > 0 && len(r.Media) > 0 && !slices.ContainsFunc(r.Media, func(m devices.Media) bool { return slices.Contains(covered, m) }) {
		return wrong(path, "never used: the policy does not cover these media")
	}
	for _, l := range []struct {
		word string
		list *[]Technique
	}{{"purge", &r.Purge}, {"clear", &r.Clear}, {"forbid", &r.Forbid}, {"demand", &r.Demand}} {
		*l.list = slices.Clone(*l.list)
		for i, word := range *l.list {
			t, err := techniqueByName(string(word))
			if err != nil {
				return wrong(append(slices.Clone(path), l.word, i), "%v", err)
			}
			(*l.list)[i] = t
		}
		if err := known(append(slices.Clone(path), l.word), *l.list, Techniques()); err != nil {
			return err
		}
	}
	levels := map[Technique]Method{}
	for word, m := range r.Levels {
		t, err := techniqueByName(string(word))
		where := append(slices.Clone(path), "levels", string(word))
		switch {
		case err != nil:
			return wrong(where, "%v", err)
		case m != Clear:
			return wrong(where, "a level is only taken down, to clear: to use a technique for nothing, forbid it")
		case levels[t] != "":
			return wrong(where, "%s is said twice", t)
		case (Row{Forbid: r.Forbid}).forbids(t):
			return wrong(where, "%s is forbidden by the same rule, or a step of it is", t)
		}
		levels[t] = m
	}
	if r.Levels != nil {
		r.Levels = levels
	}
	if len(r.Purge)+len(r.Clear)+len(r.Forbid)+len(r.Demand)+len(r.Levels) == 0 && r.Overwrite == "" {
		return wrong(path, "the rule says nothing about the drives that it is about")
	}
	return r.consistent(path)
}

// consistent refuses a rule that says two things at once.
func (r *PolicyRule) consistent(path []any) error {
	for i, t := range slices.Concat(r.Purge, r.Clear, r.Demand) {
		word, n := "purge", i
		if n >= len(r.Purge) {
			word, n = "clear", n-len(r.Purge)
			if n >= len(r.Clear) {
				word, n = "demand", n-len(r.Clear)
			}
		}
		where := append(slices.Clone(path), word, n)
		order := map[string][]Technique{"purge": r.Purge, "clear": r.Clear}[word]
		switch {
		case (Row{Forbid: r.Forbid}).forbids(t):
			return wrong(where, "%s is forbidden by the same rule, or a step of it is", t)
		case word != "demand" && len(r.Demand) > 0 && !slices.Contains(r.Demand, t):
			return wrong(where, "%s is not among what the same rule demands", t)
		case word == "purge" && r.Levels[t] != "":
			return wrong(where, "the same rule says that %s reaches %s", t, r.Levels[t])
		case t == CryptoThenBlock && slices.ContainsFunc(order[:min(n, len(order))], func(o Technique) bool { return slices.Contains(t.Steps(), o) }):
			return wrong(where, "%s does more than either alone: put it first, or leave it out", t)
		}
	}
	if r.Overwrite != "" {
		s, err := SchemeByName(r.Overwrite)
		if err != nil {
			return wrong(append(slices.Clone(path), "overwrite"), "%v", err)
		}
		r.Overwrite = s.Name
	}
	return nil
}

// possible refuses orders of what reaches the method on none of the rows that the rule is about.
func (r PolicyRule) possible(path []any, rows []Row, base string) error {
	for _, m := range []Method{Purge, Clear} {
		for i, t := range map[Method][]Technique{Purge: r.Purge, Clear: r.Clear}[m] {
			if !slices.ContainsFunc(rows, func(row Row) bool { return slices.Contains(row.order(m), t) }) {
				return wrong(append(slices.Clone(path), string(m), i), "under %s %s does not reach %s there", base, t, m)
			}
		}
	}
	return nil
}

// change is a row of the base as the rule has it: of what reaches a method there, what the rule
// leaves, in its order.
func (r PolicyRule) change(path []any, row Row, base string) (Row, error) {
	row.Purge, row.Clear = r.left(Purge, r.Purge, row.Purge), r.left(Clear, r.Clear, row.Clear)
	row.Forbid, row.Demand = r.Forbid, r.Demand
	if r.Overwrite == "" {
		return row, nil
	}
	if row.Scheme != "" && !schemeEndsLike(r.Overwrite, row.Scheme) {
		return row, wrong(append(slices.Clone(path), "overwrite"), "%s demands the passes of %s on %s", base, row.Scheme, rowWords(row))
	}
	if row.level(HostOverwrite) == "" && (Row{Forbid: r.Forbid, Clear: r.Clear}).forbids(HostOverwrite) {
		return row, wrong(append(slices.Clone(path), "overwrite"), "host overwrite is forbidden by the same rule")
	}
	row.Scheme = r.Overwrite
	return row, nil
}

func (r PolicyRule) left(m Method, order, base []Technique) []Technique {
	if order == nil {
		order = base
	}
	return slices.DeleteFunc(slices.Clone(order), func(t Technique) bool {
		return !slices.Contains(base, t) || (Row{Forbid: r.Forbid}).forbids(t) || len(r.Demand) > 0 && !slices.Contains(r.Demand, t) || m == Purge && r.Levels[t] != ""
	})
}

// schemeEndsLike says whether a scheme writes another's passes last: more before them does no harm.
func schemeEndsLike(name, other string) bool {
	a, errA := SchemeByName(name)
	b, errB := SchemeByName(other)
	return errA == nil && errB == nil && len(a.Passes) >= len(b.Passes) && slices.Equal(a.Passes[len(a.Passes)-len(b.Passes):], b.Passes)
}

// rowWords say of which drives a row is, for people.
func rowWords(r Row) string {
	media, bus := "any media", ""
	if r.Media != "" {
		media = mediaWords(r.Media)
	}
	if r.Bus != "" {
		bus = ", " + string(r.Bus)
	}
	return media + bus
}
