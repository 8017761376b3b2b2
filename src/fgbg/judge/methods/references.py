"""The publications that a methods section may cite."""

from __future__ import annotations

REFERENCES = {
    "Abraham and Khan, 2019": (
        "Abraham, N., Khan, N. M. (2019). A novel focal Tversky loss function with improved attention U-Net for lesion "
        "segmentation. IEEE International Symposium on Biomedical Imaging, 683–687."
    ),
    "Berman et al., 2018": (
        "Berman, M., Rannen Triki, A., Blaschko, M. B. (2018). The Lovász-Softmax loss: a tractable surrogate for the "
        "optimization of the intersection-over-union measure in neural networks. CVPR, 4413–4421."
    ),
    "Caicedo et al., 2019": (
        "Caicedo, J. C., Goodman, A., Karhohs, K. W., and others (2019). Nucleus segmentation across imaging experiments: "
        "the 2018 Data Science Bowl. Nature Methods 16, 1247–1253."
    ),
    "Chaurasia and Culurciello, 2017": (
        "Chaurasia, A., Culurciello, E. (2017). LinkNet: exploiting encoder representations for efficient semantic "
        "segmentation. arXiv:1707.03718."
    ),
    "Chen et al., 2017": (
        "Chen, L.-C., Papandreou, G., Schroff, F., Adam, H. (2017). Rethinking atrous convolution for semantic image "
        "segmentation. arXiv:1706.05587."
    ),
    "Chen et al., 2018": (
        "Chen, L.-C., Zhu, Y., Papandreou, G., Schroff, F., Adam, H. (2018). Encoder-decoder with atrous separable "
        "convolution for semantic image segmentation. arXiv:1802.02611."
    ),
    "Cheng et al., 2021": (
        "Cheng, B., Girshick, R., Dollár, P., Berg, A. C., Kirillov, A. (2021). Boundary IoU: improving object-centric "
        "image segmentation evaluation. arXiv:2103.16562."
    ),
    "Dice, 1945": (
        "Dice, L. R. (1945). Measures of the amount of ecologic association between species. Ecology 26(3), 297–302."
    ),
    "Dorfman et al., 1992": (
        "Dorfman, D. D., Berbaum, K. S., Metz, C. E. (1992). Receiver operating characteristic rating analysis: "
        "generalization to the population of readers and patients with the jackknife method. Investigative Radiology 27(9), "
        "723–731."
    ),
    "Efron, 1979": (
        "Efron, B. (1979). Bootstrap methods: another look at the jackknife. The Annals of Statistics 7(1), 1–26."
    ),
    "Fan et al., 2020": (
        "Fan, T., Wang, G., Li, Y., Wang, H. (2020). MA-Net: a multi-scale attention network for liver and tumor "
        "segmentation. IEEE Access 8, 179656–179665."
    ),
    "He et al., 2016": (
        "He, K., Zhang, X., Ren, S., Sun, J. (2016). Deep residual learning for image recognition. CVPR, 770–778."
    ),
    "Hesterberg, 2015": (
        "Hesterberg, T. C. (2015). What teachers should know about the bootstrap: resampling in the undergraduate "
        "statistics curriculum. The American Statistician 69(4), 371–386."
    ),
    "Holm, 1979": (
        "Holm, S. (1979). A simple sequentially rejective multiple test procedure. Scandinavian Journal of Statistics "
        "6(2), 65–70."
    ),
    "Iakubovskii, 2019": (
        "Iakubovskii, P. (2019). Segmentation Models Pytorch. github.com/qubvel-org/segmentation_models.pytorch."
    ),
    "Jadon, 2020": ("Jadon, S. (2020). A survey of loss functions for semantic segmentation. arXiv:2006.14822."),
    "Kingma and Ba, 2015": ("Kingma, D. P., Ba, J. (2015). Adam: a method for stochastic optimization. ICLR."),
    "Kirillov et al., 2019": (
        "Kirillov, A., Girshick, R., He, K., Dollár, P. (2019). Panoptic feature pyramid networks. CVPR, 6399–6408."
    ),
    "Li et al., 2018": (
        "Li, H., Xiong, P., An, J., Wang, L. (2018). Pyramid attention network for semantic segmentation. arXiv:1805.10180."
    ),
    "Lin et al., 2017": (
        "Lin, T.-Y., Goyal, P., Girshick, R., He, K., Dollár, P. (2017). Focal loss for dense object detection. ICCV, "
        "2980–2988."
    ),
    "Loshchilov and Hutter, 2017": (
        "Loshchilov, I., Hutter, F. (2017). SGDR: stochastic gradient descent with warm restarts. ICLR."
    ),
    "Loshchilov and Hutter, 2019": ("Loshchilov, I., Hutter, F. (2019). Decoupled weight decay regularization. ICLR."),
    "Milletari et al., 2016": (
        "Milletari, F., Navab, N., Ahmadi, S.-A. (2016). V-Net: fully convolutional neural networks for volumetric "
        "medical image segmentation. 3DV, 565–571."
    ),
    "Nadeau and Bengio, 2003": (
        "Nadeau, C., Bengio, Y. (2003). Inference for the generalization error. Machine Learning 52(3), 239–281."
    ),
    "Oktay et al., 2018": (
        "Oktay, O., Schlemper, J., Le Folgoc, L., et al. (2018). Attention U-Net: learning where to look for the "
        "pancreas. arXiv:1804.03999."
    ),
    "Parkhi et al., 2012": (
        "Parkhi, O. M., Vedaldi, A., Zisserman, A., Jawahar, C. V. (2012). Cats and dogs. CVPR, 3498–3505."
    ),
    "Polyak and Juditsky, 1992": (
        "Polyak, B. T., Juditsky, A. B. (1992). Acceleration of stochastic approximation by averaging. SIAM Journal on "
        "Control and Optimization 30(4), 838–855."
    ),
    "Ronneberger et al., 2015": (
        "Ronneberger, O., Fischer, P., Brox, T. (2015). U-Net: convolutional networks for biomedical image segmentation. "
        "MICCAI, 234–241."
    ),
    "Salehi et al., 2017": (
        "Salehi, S. S. M., Erdogmus, D., Gholipour, A. (2017). Tversky loss function for image segmentation using 3D "
        "fully convolutional deep networks. arXiv:1706.05721."
    ),
    "Satterthwaite, 1946": (
        "Satterthwaite, F. E. (1946). An approximate distribution of estimates of variance components. Biometrics Bulletin "
        "2(6), 110–114."
    ),
    "Smith and Topin, 2019": (
        "Smith, L. N., Topin, N. (2019). Super-convergence: very fast training of neural networks using large learning "
        "rates. arXiv:1708.07120."
    ),
    "Tan and Le, 2019": (
        "Tan, M., Le, Q. V. (2019). EfficientNet: rethinking model scaling for convolutional neural networks. ICML, "
        "6105–6114."
    ),
    "Wightman, 2019": ("Wightman, R. (2019). PyTorch Image Models. github.com/huggingface/pytorch-image-models."),
    "Xiao et al., 2018": (
        "Xiao, T., Liu, Y., Zhou, B., Jiang, Y., Sun, J. (2018). Unified perceptual parsing for scene understanding. "
        "arXiv:1807.10221."
    ),
    "Xie et al., 2021": (
        "Xie, E., Wang, W., Yu, Z., Anandkumar, A., Alvarez, J. M., Luo, P. (2021). SegFormer: simple and efficient "
        "design for semantic segmentation with transformers. arXiv:2105.15203."
    ),
    "Yun et al., 2019": (
        "Yun, S., Han, D., Oh, S. J., Chun, S., Choe, J., Yoo, Y. (2019). CutMix: regularization strategy to train strong"
        " classifiers with localizable features. ICCV, 6023–6032."
    ),
    "Zhang et al., 2018": (
        "Zhang, H., Cisse, M., Dauphin, Y. N., Lopez-Paz, D. (2018). mixup: beyond empirical risk minimization. ICLR."
    ),
    "Zhao et al., 2017": (
        "Zhao, H., Shi, J., Qi, X., Wang, X., Jia, J. (2017). Pyramid scene parsing network. CVPR, 2881–2890."
    ),
    "Zhou et al., 2018": (
        "Zhou, Z., Siddiquee, M. M. R., Tajbakhsh, N., Liang, J. (2018). UNet++: a nested U-Net architecture for medical "
        "image segmentation. arXiv:1807.10165."
    ),
}
"""By the words that cite them in a text, such as "(Dice, 1945)"."""


def list_references(text: str) -> list[str]:
    """The references that a text cites, in alphabetical order.

    >>> [reference[:10] for reference in list_references("by Dice's coefficient (Dice, 1945)")]
    ['Dice, L. R']
    """
    return [full for cited, full in REFERENCES.items() if cited in text]
