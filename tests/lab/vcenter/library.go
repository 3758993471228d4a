package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/types"
)

const deployments = "/vcenter/ovf/library-item/"

func isLibrary(path string) bool {
	return strings.HasPrefix(path, "/api/content/") || strings.Contains(path, deployments)
}

// library answers for content libraries: the simulator knows their old paths only, and drops the annotation of what it
// deploys, which is all that a deployment can be told by until it is looked at.
func (l *lab) library(a *answer, q *request) {
	inner := &request{Request: q.Clone(q.Context()), body: q.body}
	modern := strings.HasPrefix(q.URL.Path, "/api/")
	if modern {
		path := "/rest/com/vmware" + strings.TrimPrefix(q.URL.Path, "/api")
		inner.URL.Path = strings.Replace(path, deployments, deployments+"id:", 1)
		inner.URL.RawQuery = "~action=" + action(q.Request)
		if action(q.Request) == "find" {
			inner.body = []byte(fmt.Sprintf(`{"spec": %s}`, q.body))
		}
	}
	found := newAnswer()
	l.forward(found, inner)
	if action(q.Request) == "deploy" && found.status == http.StatusOK {
		annotate(l, q.body, found.body.Bytes())
	}
	var wrapped struct{ Value json.RawMessage }
	if modern && json.Unmarshal(found.body.Bytes(), &wrapped) == nil && len(wrapped.Value) > 0 {
		found.body = *bytes.NewBuffer(wrapped.Value)
	}
	*a = *found
}

func annotate(l *lab, asked, answered []byte) {
	var deployment struct {
		Value struct {
			ResourceID *struct{ ID string } `json:"resource_id"`
		}
	}
	var deploy struct {
		Spec struct{ Annotation string } `json:"deployment_spec"`
	}
	if json.Unmarshal(answered, &deployment) != nil || json.Unmarshal(asked, &deploy) != nil {
		return
	}
	if made := deployment.Value.ResourceID; made != nil {
		vm, fault := virtualMachine(types.ManagedObjectReference{Type: "VirtualMachine", Value: made.ID})
		if fault == nil {
			simulator.Map.WithLock(vm, func() { vm.Config.Annotation = deploy.Spec.Annotation })
			l.changed(vm)
		}
	}
}
