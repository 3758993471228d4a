"""Machines of a vCenter as hosts: which, by what name, in which groups."""

from __future__ import annotations

import pytest

from deploys.errors import InputError
from deploys.vsphere.rows import Nic, Vm
from inventories._vsphere import Where, asked_for, automatic_groups, names

WEB = Vm("vm-1", "web-1", ("DC0", "prod", "web"), uuid="u-1", power="on", cluster="C0", tags={"role": ("web",)},
         attributes={"owner": "ops"}, nics=(Nic(4000, "net", "", ("10.0.0.1",)),))  # fmt: skip
DB = Vm("vm-2", "db-1", ("DC0", "prod"), uuid="u-2", power="off")


@pytest.mark.parametrize(
    ("where", "web", "db"),
    [
        (Where(), True, True),
        (Where(folder="DC0/prod/"), True, True),
        (Where(folder="DC0/prod/web"), True, False),
        (Where(folder="DC0/pro"), False, False),
        (Where(names=("web-*", "x")), True, False),
        (Where(tags={"role": "web"}), True, False),
        (Where(tags={"role": "db"}), False, False),
        (Where(attributes={"owner": "ops"}, power="on", cluster="C0"), True, False),
        (Where(power="off"), False, True),
    ],
)
def test_all_that_is_given_must_hold(where: Where, web: bool, db: bool) -> None:
    assert (where.holds(WEB), where.holds(DB)) == (web, db)


def test_namesakes_are_told_apart_by_their_folders() -> None:
    twin = Vm("vm-3", "web-1", ("DC0", "test"))
    assert names([WEB, DB, twin]) == ["web-1.web.prod.DC0", "db-1", "web-1.test.DC0"]


def test_a_name_that_pyinfra_cannot_have_is_written_as_in_a_url() -> None:
    assert names([Vm("vm-1", "a/b 50%,ü:@x", ("DC0",))]) == ["a%2Fb%2050%25%2Cü%3A%40x"]


def test_the_questions_of_the_connector() -> None:
    where, rule = asked_for("DC0/prod?tag=role:web&attribute=owner:ops&name=a*&name=b&power=on&network=net&family=6")
    assert where == Where(folder="DC0/prod", tags={"role": "web"}, attributes={"owner": "ops"}, names=("a*", "b"),
                          power="on")  # fmt: skip
    assert (rule.network, rule.family) == ("net", 6)
    assert asked_for(None)[0] == Where()


@pytest.mark.parametrize(("text", "words"), [("?tags=a:b", "did you mean 'tag'"), ("?tag=web", "tag=NAME:VALUE"),
                                             ("?family=5", "4 or 6")])  # fmt: skip
def test_a_question_that_is_none_is_refused(text: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        asked_for(text)


def test_groups_by_tag_folder_cluster_and_power() -> None:
    assert automatic_groups(WEB) == [
        "tag_role_web", "folder_DC0", "folder_DC0_prod", "folder_DC0_prod_web", "cluster_C0", "power_on",
    ]  # fmt: skip
