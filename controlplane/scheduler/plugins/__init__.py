"""The plugins of the default profile, in the order in which they are asked. Adding one is a file and a line.

order of the queue       PrioritySort
before the queue         SchedulingGates
filters                  NodeUnschedulable, NodeName, TaintToleration, NodeAffinity, NodePorts, NodeResourcesFit
scores (weight)          TaintToleration (3), NodeAffinity (2), NodeResourcesFit (1), NodeResourcesBalancedAllocation (1)
the binding              DefaultBinder
"""

from controlplane.scheduler.framework import Plugin
from controlplane.scheduler.plugins.balanced_allocation import BalancedAllocation
from controlplane.scheduler.plugins.default_binder import DefaultBinder
from controlplane.scheduler.plugins.node_affinity import NodeAffinity
from controlplane.scheduler.plugins.node_name import NodeName
from controlplane.scheduler.plugins.node_ports import NodePorts
from controlplane.scheduler.plugins.node_resources_fit import NodeResourcesFit
from controlplane.scheduler.plugins.node_unschedulable import NodeUnschedulable
from controlplane.scheduler.plugins.priority_sort import PrioritySort
from controlplane.scheduler.plugins.scheduling_gates import SchedulingGates
from controlplane.scheduler.plugins.taint_toleration import TaintToleration

DEFAULT_PROFILE: tuple[Plugin, ...] = (
    SchedulingGates(),
    NodeUnschedulable(),
    NodeName(),
    TaintToleration(),
    NodeAffinity(),
    NodePorts(),
    NodeResourcesFit(),
    BalancedAllocation(),
)
QUEUE_ORDER = PrioritySort()
BINDER = DefaultBinder()
