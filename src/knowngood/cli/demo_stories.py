"""The demo's stories by the name of their scenario."""

from knowngood.cli.demo_approval import Approval
from knowngood.cli.demo_canary import Canary
from knowngood.cli.demo_gradual import Gradual
from knowngood.cli.demo_observe import Observe
from knowngood.cli.demo_rollback import Rollback
from knowngood.cli.demo_story import Story

STORIES: dict[str, type[Story]] = {
    story.scenario: story for story in (Rollback, Canary, Gradual, Approval, Observe)
}
