package main

import (
	"bytes"
	"fmt"
	"regexp"
	"strings"

	"github.com/vmware/govmomi/vim25/types"
	"github.com/vmware/govmomi/vim25/xml"
)

const extraConfig = "config.extraConfig"

// index is a path such as config.extraConfig["guestinfo.x"].value. The simulator does not know these: the lab reads
// the whole list in their place, and takes the wanted ones out of the answer.
type index struct {
	path, key string
	value     bool
}

type indexes struct {
	wanted []index
	whole  bool // the list itself is wanted too
}

var (
	indexPath  = regexp.MustCompile(`^config\.extraConfig\["(.+)"\](\.value)?$`)
	listOf     = regexp.MustCompile(`<propSet><name>config\.extraConfig</name><val [^>]*>(.*?)</val></propSet>`)
	optionOf   = regexp.MustCompile(`<OptionValue [^>]*><key>([^<]*)</key><value ([^>]*)>([^<]*)</value></OptionValue>`)
	instanceNS = `xmlns:XMLSchema-instance="http://www.w3.org/2001/XMLSchema-instance"`
)

// splitIndexes returns specifications that the simulator understands; the indexes are nil when there were none.
func splitIndexes(specs []types.PropertyFilterSpec) ([]types.PropertyFilterSpec, *indexes) {
	found := &indexes{}
	plain := append([]types.PropertyFilterSpec{}, specs...)
	for i := range plain {
		plain[i].PropSet = append([]types.PropertySpec{}, plain[i].PropSet...)
		for j := range plain[i].PropSet {
			set := &plain[i].PropSet[j]
			paths := []string{}
			before := len(found.wanted)
			for _, path := range set.PathSet {
				if match := indexPath.FindStringSubmatch(path); match != nil {
					found.wanted = append(found.wanted, index{path, match[1], match[2] != ""})
					continue
				}
				found.whole = found.whole || path == extraConfig
				paths = append(paths, path)
			}
			if len(found.wanted) > before {
				set.PathSet = append(paths, extraConfig) // the simulator answers a path once
			}
		}
	}
	if len(found.wanted) == 0 {
		return specs, nil
	}
	return plain, found
}

// restore puts the wanted values in place of the lists that were read for them.
func (x *indexes) restore(text string) string {
	return listOf.ReplaceAllStringFunc(text, func(list string) string {
		var out strings.Builder
		if x.whole {
			out.WriteString(list)
		}
		options := optionOf.FindAllStringSubmatch(list, -1)
		for _, wanted := range x.wanted {
			for _, option := range options {
				if option[1] != escaped(wanted.key) {
					continue
				}
				value := fmt.Sprintf(`<val %s %s>%s</val>`, instanceNS, option[2], option[3])
				if !wanted.value {
					value = fmt.Sprintf(`<val %s XMLSchema-instance:type="OptionValue"><key>%s</key><value %s>%s</value></val>`,
						instanceNS, option[1], option[2], option[3])
				}
				fmt.Fprintf(&out, `<propSet><name>%s</name>%s</propSet>`, escaped(wanted.path), value)
			}
		}
		return out.String()
	})
}

func escaped(text string) string {
	var out bytes.Buffer
	_ = xml.EscapeText(&out, []byte(text))
	return out.String()
}
