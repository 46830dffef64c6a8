"""The sentences of `support.why`, for agents."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from duomo.types import Language

_ZH = {
    "stop": "。",
    "wish_greeting": "顾客在打招呼，无需查找知识。",
    "wish_thanks": "顾客表示感谢，无需查找知识。",
    "wish_goodbye": "顾客道别，无需查找知识。",
    "wish_acknowledged": "顾客表示知道了，无需查找知识。",
    "wish_who": "顾客问对方是谁，无需查找知识。",
    "wish_person": "顾客要求人工服务。",
    "wish_emergency": "提到了危险情况，一律转人工。",
    "wish_unhelped": "顾客表示没有得到帮助。",
    "no_model": "没有启用训练好的模型，仅依据知识库判断。",
    "understood": "理解为“{title}”（{sure}）",
    "or": "，也可能是“{title}”（{sure}）",
    "out_of_scope": "不在已知意图之内（{sure}）",
    "only_from": "，依据{what}。",
    "mostly_from": "，主要依据{what}。",
    "both_from": "，依据{what}和{other}。",
    "from_text": "文字",
    "from_speech": "语音转写的文字",
    "from_read": "图片里的文字",
    "from_image": "图片",
    "from_audio": "语音",
    "from_video": "视频",
    "holding": "文件仍在识别，先告知顾客。",
    "answered": "依据“{title}”作答（{score}，需 {needed}）。",
    "answered_chosen": "依据顾客选择的“{title}”作答。",
    "answered_plain": "依据“{title}”作答。",
    "asked_back": "向顾客追问：最接近的“{title}”为 {score}，作答需 {needed}。",
    "handed": "已转人工",
    "handed_team": "已转人工（{team}）",
    "reason_requested": "：顾客要求。",
    "reason_low_confidence": "：没有足够匹配的内容。",
    "reason_repeated_failure": "：连续几次没有帮上忙。",
    "reason_emergency": "：可能有危险。",
    "reason_agent": "：客服接管。",
    "reason_system": "：处理消息时出了故障。",
    "reason_policy": "：策略如此规定。",
    "best_was": "最接近的“{title}”为 {score}，作答需 {needed}。",
    "rule": "第 {row} 条规则“{name}”",
    "else_knowledge": "；段落得分",
    "else_confidence": "；意图把握",
    "else_from": "达到 {score} 会{done}",
    "else_below": "低于 {score} 会{done}",
    "else_answer": "作答",
    "else_clarify": "追问",
    "else_hand_over": "转人工",
    "comma": "，",
}
_EN = {
    "stop": ".",
    "wish_greeting": "The customer says hello; nothing to look up.",
    "wish_thanks": "The customer says thanks; nothing to look up.",
    "wish_goodbye": "The customer says goodbye; nothing to look up.",
    "wish_acknowledged": "The customer has taken note; nothing to look up.",
    "wish_who": "The customer asks who is there; nothing to look up.",
    "wish_person": "The customer asked for a person.",
    "wish_emergency": "Words of danger: a person in any case.",
    "wish_unhelped": "The customer says that it did not help.",
    "no_model": "No trained model was active; the knowledge alone decided.",
    "understood": "Understood as “{title}” ({sure})",
    "or": ", perhaps “{title}” ({sure})",
    "out_of_scope": "None of the known intents ({sure})",
    "only_from": ", from {what}.",
    "mostly_from": ", mostly from {what}.",
    "both_from": ", from {what} and {other}.",
    "from_text": "the text",
    "from_speech": "the words of the voice note",
    "from_read": "the words in the picture",
    "from_image": "the photo",
    "from_audio": "the sound",
    "from_video": "the video",
    "holding": "A file is still being read; the customer was told.",
    "answered": "Answered from “{title}” ({score}, needed {needed}).",
    "answered_chosen": "Answered from “{title}”, which the customer chose.",
    "answered_plain": "Answered from “{title}”.",
    "asked_back": "Asked back: the best, “{title}”, had {score}, an answer needs {needed}.",
    "handed": "Handed over",
    "handed_team": "Handed over to {team}",
    "reason_requested": ": the customer asked for it.",
    "reason_low_confidence": ": nothing matched well enough.",
    "reason_repeated_failure": ": it had not helped before.",
    "reason_emergency": ": somebody may be in danger.",
    "reason_agent": ": an agent took over.",
    "reason_system": ": something went wrong on our side.",
    "reason_policy": ": the policy says so.",
    "best_was": " The best, “{title}”, had {score}, an answer needs {needed}.",
    "rule": "Rule {row}, “{name}”",
    "else_knowledge": "; ",
    "else_confidence": "; by the intent's confidence, ",
    "else_from": "from {score} it would have {done}",
    "else_below": "below {score} it would have {done}",
    "else_answer": "answered",
    "else_clarify": "asked back",
    "else_hand_over": "handed over",
    "comma": ", ",
}
_WORDS: dict[Language, dict[str, str]] = {"zh": _ZH, "en": _EN}

WISHES = frozenset(name.removeprefix("wish_") for name in _EN if name.startswith("wish_"))
REASONS = frozenset(name.removeprefix("reason_") for name in _EN if name.startswith("reason_"))


def of(language: Language) -> Callable[..., str]:
    """(key, values) -> the sentence."""
    words = _WORDS[language]

    def say(key: str, **values: Any) -> str:
        return words[key].format(**values)

    return say
