"""What figures, modalities and kinds of rows are called and mean, in English and Chinese."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

NOTHING = "none"
"""The pattern of a row without any modality."""


@dataclass(frozen=True, slots=True)
class Words:
    """What a figure is called and means."""

    en: str
    zh: str
    en_hint: str = ""
    zh_hint: str = ""
    form: Literal["percent", "number"] = "percent"
    better: Literal["high", "low", "neither"] = "high"


FIGURES: Mapping[str, Words] = {
    "accuracy": Words("Accuracy", "准确率", "share of rows that are right", "判断正确的样本比例"),
    "balanced_accuracy": Words("Balanced accuracy", "平衡准确率", "mean recall of the classes", "各类召回率的平均"),
    "precision_micro": Words("Precision, micro", "精确率（微平均）"),
    "precision_macro": Words(
        "Precision, macro", "精确率（宏平均）", "TP / (TP + FP), mean over classes", "TP / (TP + FP)，各类平均"
    ),
    "precision_weighted": Words("Precision, weighted", "精确率（加权）"),
    "precision_samples": Words("Precision, per row", "精确率（按样本）"),
    "recall_micro": Words("Recall, micro", "召回率（微平均）"),
    "recall_macro": Words(
        "Recall, macro", "召回率（宏平均）", "TP / (TP + FN), mean over classes", "TP / (TP + FN)，各类平均"
    ),
    "recall_weighted": Words("Recall, weighted", "召回率（加权）"),
    "recall_samples": Words("Recall, per row", "召回率（按样本）"),
    "f1_micro": Words("F1, micro", "F1（微平均）", "over all labels together", "所有标签合在一起"),
    "f1_macro": Words("F1, macro", "F1（宏平均）", "every class counts the same", "每个类别同等重要"),
    "f1_weighted": Words("F1, weighted", "F1（加权）", "classes count by their rows", "按类别样本数加权"),
    "f1_samples": Words("F1, per row", "F1（按样本）"),
    "log_loss": Words("Log loss", "对数损失", "", "", "number", "low"),
    "brier": Words(
        "Brier score", "Brier 分数", "squared error of the probabilities", "概率的平方误差", "number", "low"
    ),
    "ece": Words(
        "Calibration error",
        "校准误差",
        "ECE: how far confidence is from truth; 15 bins of equal mass",
        "ECE：置信度与实际的差距；15 个等量分箱",
        "percent",
        "low",
    ),
    "ece_by_chance": Words(
        "Calibration error by chance",
        "偶然校准误差",
        "what perfect confidence would show on so few rows",
        "样本有限时，完美置信度也会显示的误差",
        "percent",
        "neither",
    ),
    "top_3_accuracy": Words("Top-3 accuracy", "前三准确率", "the truth is among three", "正确答案在前三之内"),
    "auroc": Words("AUROC", "AUROC", "each class against the rest", "每类对其余各类"),
    "average_precision_macro": Words("Average precision", "平均精确率"),
    "coverage": Words(
        "Set coverage",
        "集合覆盖率",
        "the truth is in the prediction set",
        "预测集合包含正确答案的比例",
        "percent",
        "neither",
    ),
    "set_size": Words(
        "Set size", "集合大小", "labels in a prediction set, mean", "预测集合的平均标签数", "number", "low"
    ),
    "abstention_rate": Words(
        "Left to people", "转人工比例", "the model abstains", "模型选择不回答", "percent", "neither"
    ),
    "accuracy_answered": Words(
        "Accuracy when it answers", "自动回答准确率", "of the rows it does not leave to people", "模型自己回答的样本"
    ),
    "aurc": Words(
        "Risk under coverage",
        "风险覆盖面积",
        "AURC: mean error as coverage grows",
        "AURC：随覆盖率变化的平均错误率",
        "percent",
        "low",
    ),
    "in_scope_accuracy": Words("In-scope accuracy", "范围内准确率", "turning away counts as an error", "误拒也算错误"),
    "out_of_scope_recall": Words(
        "Out-of-scope recall", "超范围召回率", "of what it cannot know, how much it notices", "超范围问题被识别的比例"
    ),
    "out_of_scope_precision": Words("Out-of-scope precision", "超范围精确率"),
    "out_of_scope_f1": Words("Out-of-scope F1", "超范围 F1"),
    "out_of_scope_auroc": Words("Out-of-scope AUROC", "超范围 AUROC", "at any threshold", "与阈值无关"),
    "out_of_scope_fpr95": Words(
        "Out-of-scope FPR95",
        "超范围 FPR95",
        "let through where 95% in scope are kept",
        "保留 95% 范围内样本时的漏检率",
        "percent",
        "low",
    ),
    "subset_accuracy": Words("Exact match", "完全匹配率", "all labels of the row are right", "整组标签全部正确"),
    "hamming_loss": Words(
        "Hamming loss", "汉明损失", "share of single labels that are wrong", "单个标签出错的比例", "percent", "low"
    ),
    "mae": Words("MAE", "平均绝对误差", "mean distance, in the label's unit", "平均差距，单位同标签", "number", "low"),
    "rmse": Words("RMSE", "均方根误差", "large errors weigh more", "大误差权重更高", "number", "low"),
    "r2": Words("R²", "R²", "share of the variance that is explained", "解释的方差比例", "number"),
    "pearson": Words("Pearson r", "皮尔逊相关", "", "", "number"),
    "spearman": Words("Spearman ρ", "斯皮尔曼相关", "of the ranks", "按名次", "number"),
    "interval_width": Words("Interval width", "区间宽度", "", "", "number", "low"),
    "precision": Words("Precision", "精确率"),
    "recall": Words("Recall", "召回率"),
    "f1": Words("F1", "F1"),
}

HEADLINES: Mapping[str, tuple[str, ...]] = {
    "class": ("accuracy", "f1_macro", "ece", "coverage", "abstention_rate", "accuracy_answered", "auroc"),
    "scope": (
        "in_scope_accuracy",
        "out_of_scope_recall",
        "out_of_scope_auroc",
        "accuracy",
        "f1_macro",
        "ece",
        "coverage",
    ),
    "multilabel": ("f1_micro", "f1_macro", "subset_accuracy", "auroc", "hamming_loss"),
    "number": ("mae", "rmse", "r2", "pearson", "spearman", "coverage"),
}
COLUMNS: Mapping[str, tuple[str, ...]] = {
    "class": ("accuracy", "f1_macro", "ece"),
    "scope": ("in_scope_accuracy", "out_of_scope_recall", "ece"),
    "multilabel": ("f1_micro", "f1_macro", "subset_accuracy"),
    "number": ("mae", "r2", "pearson"),
}

TYPES = {
    "class": ("one label", "单标签"),
    "multilabel": ("several labels", "多标签"),
    "number": ("number", "数值"),
}

KINDS: Mapping[str, tuple[str, str]] = {
    "text": ("text", "文本"),
    "image": ("image", "图片"),
    "audio": ("sound", "声音"),
    "video": ("video", "视频"),
    NOTHING: ("nothing", "无内容"),
    "en": ("English", "英文"),
    "zh": ("Chinese", "中文"),
    "text_typos": ("typos", "错别字"),
    "text_misheard": ("misheard words", "语音识别错字"),
    "text_cut": ("text cut off", "文本截断"),
    "text_case": ("other letter case", "大小写混乱"),
    "image_blur": ("blurred picture", "图片模糊"),
    "image_dark": ("dark picture", "图片过暗"),
    "image_noise": ("grainy picture", "图片噪点"),
    "image_turned": ("turned picture", "图片旋转"),
    "image_cropped": ("cropped picture", "图片裁切"),
    "audio_noise_10db": ("street noise, 10 dB", "街道噪声 10 dB"),
    "audio_noise_0db": ("loud street, 0 dB", "强街道噪声 0 dB"),
    "audio_clipped": ("clipped sound", "声音削波"),
    "audio_telephone": ("telephone line", "电话音质"),
    "audio_cut": ("sound cut off", "声音截断"),
}
"""Modalities, languages and corruptions."""

UNHARMED = ("undamaged", "未受损")
"""The same rows without a corruption, which the table of corruptions calls "none"."""
