# pyright: basic
# Basic: this is the traits' edge, and traitlets, ipywidgets and anywidget are untyped.
"""Session: the kernel side of the explorer. It turns requests into jobs and results into traits."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import traitlets

from vene_widgets.engine.cache import ActivationCache
from vene_widgets.engine.planning import Plan, plan_experiment
from vene_widgets.errors import is_out_of_memory
from vene_widgets.experiments.experiment import Experiment
from vene_widgets.explorer.export.static_files import built
from vene_widgets.explorer.session.feature import Start, message_trait
from vene_widgets.explorer.session.feature_widget import FeatureWidget
from vene_widgets.explorer.shown_slots import require_shown
from vene_widgets.explorer.wire import messages as wire
from vene_widgets.explorer.wire import views

if TYPE_CHECKING:
    from vene_widgets.explorer.export.share_token import Shared
    from vene_widgets.models import LanguageModel
    from vene_widgets.models.fingerprint import Fingerprint
    from vene_widgets.sweeps.pairs.pair_run import PairRun
    from vene_widgets.sweeps.pairs.results import PairSweep


class _ChangeContext(threading.local):
    """The id of the browser's request that changes the experiment on this thread, if one does."""

    request: str | None = None


class Session(FeatureWidget):
    """Kernel-side controller of the explorer; `Explorer` adds the Python interface.

    Each synchronised trait has one writer, this class or a feature, and holds one model of
    `explorer.wire.messages`; the browser only sends requests. One worker thread runs the model.

    Attributes:
        cache: plain runs by prompt.
        revision: counts the experiments that began.
        plan: of the experiment of this revision.
        fingerprint: the state of the model that results are of.
        model_since: the first revision of that state.
    """

    # Filled per instance, so that importing the module reads no files.
    _esm = traitlets.Unicode().tag(sync=True)
    _css = traitlets.Unicode().tag(sync=True)
    scene = message_trait(on_page=True)  # written by _begin and detect_model_change
    experiment = traitlets.Instance(
        Experiment, help="the one on the screen; assigning another changes it"
    )

    def __init__(
        self,
        model: LanguageModel,
        experiment: Experiment,
        component: str = "block_output",
        shared: Shared | None = None,
        pairs: PairSweep | PairRun | None = None,
        **traits: Any,
    ) -> None:
        self._model = model
        self._context = _ChangeContext()
        self._validated: Plan | None = None  # the plan of the experiment that is being assigned
        self.plan: Plan | None = None
        self.revision = 0
        self.cache = ActivationCache()
        model.accept_hooks()
        self.fingerprint = model.fingerprint
        self.model_since = 0
        super().__init__(
            Start(component, shared, pairs),
            _esm=built("explorer.js"),
            _css=built("explorer.css"),
            experiment=experiment,
            **traits,
        )
        self._begin()

    @property
    def model(self) -> LanguageModel:
        """The model that the experiments run on."""
        return self._model

    def _change(self, request: wire.Request) -> None:
        """Start the change that a request stands for, after a look at the model."""
        if isinstance(request, wire.SetExperiment):
            self.detect_model_change()
            self.set_experiment(request.experiment, request.id)
        else:
            self.detect_model_change(begin=True)
            super()._change(request)

    # the experiment ------------------------------------------------------------------------------

    def set_experiment(self, experiment: Experiment, request: str | None) -> None:
        """Change the experiment; an equal one runs again.

        Args:
            experiment: the new one.
            request: id of the browser's request; None for changes from Python.
        """
        # Without the lock: observers of the experiment may wait for its run, which needs it.
        self._context.request = request
        try:
            if experiment == self.experiment:
                self._begin()
            else:
                self.experiment = experiment
        finally:
            self._context.request = None

    @traitlets.validate("experiment")
    def _check_experiment(self, proposal: dict[str, Any]) -> Experiment:
        """Plan an experiment before anything on the screen changes; an invalid one is refused."""
        self._validated = require_shown(plan_experiment(self.model, proposal["value"]))
        return proposal["value"]

    @traitlets.observe("experiment")
    def _experiment_changed(self, _change: object) -> None:
        if self.is_open:
            self._begin()

    def _begin(self) -> None:
        """Put the current experiment on the screen, and let the features compute what they show."""
        with self.lock:
            self.detect_model_change()
            before, plan = self.plan, self._current_plan()
            self.plan = plan
            self.revision += 1
            is_new_model = self.model_since > self.revision - 1
            self.scene = views.scene(
                self.model, plan, self.revision, self._context.request, self.model_since
            ).model_dump()
            self.set_status(busy="run", progress=None, error=None)
            for feature in self.features:
                feature.experiment_began(plan, self.revision)
            has_new_prompts = before is None or _prompts(before) != _prompts(plan)
            if has_new_prompts or is_new_model:
                self._inputs_changed(plan, has_new_prompts)

    def _current_plan(self) -> Plan:
        """The plan of the current experiment, made by `_check_experiment` if it is new."""
        for plan in (self._validated, self.plan):
            if plan is not None and plan.experiment is self.experiment:
                return plan
        return require_shown(plan_experiment(self.model, self.experiment))

    def _inputs_changed(self, plan: Plan, has_new_prompts: bool) -> None:
        for feature in self.features:
            feature.inputs_changed(plan, has_new_prompts=has_new_prompts)

    # the model -----------------------------------------------------------------------------------

    def notice_changes(self) -> None:
        """Look whether the model has changed, and compute the present experiment anew if so.

        Called after every cell of a notebook, and before every request from the browser.
        """
        if self.is_open:
            self.detect_model_change(begin=True)

    def detect_model_change(
        self, now: Fingerprint | None = None, *, begin: bool = False, since: int | None = None
    ) -> bool:
        """Compare the model with the one that the screen is of.

        After a change, everything that is older is marked, and nothing of it is used again.

        Args:
            now: the model's state; None to look.
            begin: compute the present experiment anew after a change.
            since: the first revision of the new state; None for the next one.

        Returns:
            Whether it has changed.
        """
        try:
            now = now or self.model.fingerprint
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            return False  # no room to look: the run that follows says so, or sees the change
        with self.lock:
            change = self.fingerprint.difference(now)
            if change is None:
                return False
            self.fingerprint = now
            self.model_since = self.revision + 1 if since is None else since
            self.set_status(
                note=f"The model has changed ({change}). Results from before are marked as old."
            )
            for feature in self.features:
                feature.model_changed()
            if begin:
                self._begin()
            elif since is not None and self.plan is not None:
                self.scene = {**self.scene, "model_since": since}
                self._inputs_changed(self.plan, has_new_prompts=False)
        return True


def _prompts(plan: Plan) -> tuple[str, dict[str, str]]:
    """Base and sources of a plan."""
    return plan.experiment.base, dict(plan.experiment.sources)
